// What is shown of long work: on a terminal one line that is drawn again, elsewhere lines that stay.
#include "cli/progress.h"

#include <gtest/gtest.h>

namespace fathom::cli {
namespace {

class ProgressLines : public ::testing::Test {
 protected:
  // Standard error of `work`.
  template <class Work>
  std::string shown(const Work& work) {
    ::testing::internal::CaptureStderr();
    work();
    progress_.end();
    return ::testing::internal::GetCapturedStderr();
  }
  FakeClock clock_;
  Progress progress_{/*quiet=*/false, /*terminal=*/false, clock_};
};

TEST_F(ProgressLines, ALineNowAndThenAndOneAtTheEnd) {
  const std::string text = shown([&] {
    progress_.begin("text", 4, "rows");
    progress_.update(1, "");
    clock_.advance(20);
    progress_.update(2, "nll 3");
    progress_.update(3, "");
    progress_.update(4, "nll 2");
  });
  EXPECT_EQ(text, "text 2/4 rows  nll 3  0:20 left\ntext 4/4 rows  nll 2  0:20\n");
}

TEST_F(ProgressLines, TheEndIsShownOnceForEachPieceOfWork) {
  const auto work = [&] {
    progress_.begin("weights", 0, "MiB");
    for (int i = 0; i < 3; ++i) progress_.update(0, "");
  };
  EXPECT_EQ(shown(work), "weights 0/0 MiB  0:00\n");
  EXPECT_EQ(shown(work), "weights 0/0 MiB  0:00\n");
}

TEST_F(ProgressLines, BytesAreShownInAUnitThatSaysSomething) {
  const auto work = [&](int64_t total) {
    progress_.begin_bytes("weights", total);
    progress_.update(total - 1, "");
    progress_.update(total, "");
    progress_.update(total + 1, "");
  };
  EXPECT_EQ(shown([&] { work(300 << 10); }), "weights 300/300 KiB  0:00\n");
  EXPECT_EQ(shown([&] { work(300 << 20); }), "weights 300/300 MiB  0:00\n");
}

TEST(Progress, TheBarOfATerminalIsNeverLongerThanFull) {
  FakeClock clock;
  Progress progress(/*quiet=*/false, /*terminal=*/true, clock);
  ::testing::internal::CaptureStderr();
  progress.begin("piqa", 2, "items");
  progress.update(3, "");
  progress.end();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "\r\033[K[" + std::string(24, '#') + "] piqa 2/2 items  0:00\n");
}

TEST(Progress, QuietShowsNothing) {
  FakeClock clock;
  Progress progress(/*quiet=*/true, /*terminal=*/false, clock);
  ::testing::internal::CaptureStderr();
  progress.begin("piqa", 1, "items");
  progress.update(1, "");
  progress.say("a line");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace fathom::cli
