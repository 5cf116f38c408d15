// What a scheduler needs of a model: sequences that grow in one memory, and calls with rows of many of them.
// The engine (executor_model.h) is one, tests have another.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace fathom {

// What decides how deep tokens go, as ForwardOptions have it.
struct DepthRule {
  int32_t max_depth = 0;
  float depth_shift = 0;
};

class SequenceModel {
 public:
  // What one sequence remembers. Its memory goes back with it.
  class Sequence {
   public:
    virtual ~Sequence() = default;
    virtual int64_t position() const = 0;  // tokens read
    virtual int64_t bytes() const = 0;     // of memory that it has
    // Memory for the next `rows` tokens. False: there is no room, and nothing has changed.
    virtual bool reserve(int64_t rows) = 0;
    // Notes where it stands, for go_back(). False: there is no room for that.
    virtual bool mark() = 0;
    // As if it had read no more than the first `position` tokens, or fewer, but what it had at the mark. What
    // it has read since is of one call.
    virtual void go_back(int64_t position) = 0;
  };
  struct Call {
    Sequence* sequence = nullptr;
    std::span<const int32_t> tokens;  // those that follow what it has read; memory for them is reserved
    int64_t logit_rows = 0;           // of so many of them, the last ones, logits are wanted
    DepthRule rule = {};              // that of the whole sequence
  };

  virtual ~SequenceModel() = default;
  virtual int64_t vocab() const = 0;
  virtual int64_t context() const = 0;     // most tokens of a sequence
  virtual int64_t max_rows() const = 0;    // of all calls of a pass together
  virtual int64_t max_logits() const = 0;  // rows of them whose logits are wanted
  // Memory that a sequence of `tokens` takes at most, and that all of them have together.
  virtual int64_t bytes(int64_t tokens) const = 0;
  virtual int64_t budget() const = 0;
  virtual int64_t room() const = 0;  // what nobody has of it
  // Lets go of what nobody reads, where there is any, until `bytes` are free. False: they are not.
  virtual bool make_room(int64_t bytes) { return bytes <= room(); }
  // A sequence of these tokens, of which it has read none, or a beginning that another has read before, of
  // `most_known` tokens at most; never all.
  virtual std::unique_ptr<Sequence> start(std::span<const int32_t> tokens, int64_t most_known,
                                          const DepthRule& rule) = 0;
  // Keeps what the sequence remembers, which has read all of `tokens`, for others that begin with them, if
  // there is room.
  virtual void keep(const Sequence& /*sequence*/, std::span<const int32_t> /*tokens*/,
                    const DepthRule& /*rule*/) {}
  // Calls are cut so that sequences can be kept at every so many tokens; 0: they are not kept.
  virtual int64_t keep_every() const { return 0; }
  // What a sequence remembers, put where it takes none of the memory.
  class Saved {
   public:
    virtual ~Saved() = default;
  };
  // Null: there is no such place, or it is full.
  virtual std::unique_ptr<Saved> save(const Sequence& /*sequence*/) { return nullptr; }
  // The sequence once more. Null: no room in the memory, or what was saved cannot be had back.
  virtual std::unique_ptr<Sequence> restore(const Saved& /*saved*/) { return nullptr; }
  // Reads the tokens of every call, each of another sequence. Logits [logit_rows, vocab] of each, null where
  // nobody wants them; valid until the next pass.
  virtual std::span<const float* const> pass(std::span<const Call> calls) = 0;
};

}  // namespace fathom
