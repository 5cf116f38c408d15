#include "base/parallel.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <stdexcept>
#include <string>

namespace fathom {
namespace {

// While it lives, the system has room for two more threads and refuses the third: stacks are large, and the
// addresses of this process end behind two of them.
class RoomForTwoThreads {
 public:
  RoomForTwoThreads() {
    pthread_attr_t attributes;
    pthread_getattr_default_np(&attributes);
    pthread_attr_getstacksize(&attributes, &stack_before_);
    pthread_attr_destroy(&attributes);
    set_stack(kStack);
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    getrlimit(RLIMIT_AS, &before_);
    rlimit now = before_;
    now.rlim_cur = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + 2 * kStack + kStack / 2;
    limited_ = pages > 0 && setrlimit(RLIMIT_AS, &now) == 0;
  }
  ~RoomForTwoThreads() {
    setrlimit(RLIMIT_AS, &before_);
    set_stack(stack_before_);
  }
  RoomForTwoThreads(const RoomForTwoThreads&) = delete;
  RoomForTwoThreads& operator=(const RoomForTwoThreads&) = delete;
  bool limited() const { return limited_; }

 private:
  static constexpr size_t kStack = size_t{256} << 20;
  static void set_stack(size_t bytes) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, bytes);
    pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
  }

  size_t stack_before_ = 0;
  rlimit before_ = {};
  bool limited_ = false;
};

TEST(ThreadPool, ThatCannotStartItsThreadsSaysSo) {
  std::string sentence;
  {
    const RoomForTwoThreads room;
    ASSERT_TRUE(room.limited());
    try {
      const ThreadPool pool(64);
    } catch (const std::runtime_error& error) {
      sentence = error.what();
    }
  }
  EXPECT_EQ(sentence.substr(0, sentence.find(',')), "cannot start 64 threads") << sentence;
  // Those that had started are gone, and others can come.
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  pool.run(100, 1, [&](int64_t begin, int64_t end, int) { sum += end - begin; });
  EXPECT_EQ(sum.load(), 100);
}

}  // namespace
}  // namespace fathom
