#include "train/tensor_memory.h"

#include <c10/core/CPUAllocator.h>

#include "train/array_arena.h"

namespace fathom::train {

namespace {

ArrayArena& arena() {
  static auto* const forever = new ArrayArena;  // tensors of static lifetime are given back after main()
  return *forever;
}

class ArenaAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* array = arena().take(bytes);
    return {array, array, &give, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static void give(void* array) { arena().give(array); }
};

}  // namespace

void use_arena_for_tensors() {
  static ArenaAllocator allocator;
  c10::SetCPUAllocator(&allocator, 255);  // above LibTorch's own
}

}  // namespace fathom::train
