// The yardsticks measure what they say, on every level. No bound on a time: only that rates are rates.
#include "kernels/peaks/peaks.h"

#include <cmath>
#include <set>

#include "kernels/common/testing.h"
#include "kernels/peaks/peaks_levels.h"

namespace fathom::kernels {
namespace {

uint32_t exclusive_or(const std::vector<uint32_t>& words) {
  uint32_t total = 0;
  for (uint32_t word : words) total ^= word;
  return total;
}

TEST(Peaks, EveryWordIsReadOnce) {
  std::vector<uint32_t> words;
  for (uint64_t i = 0; i < 3000; ++i) words.push_back(philox(1, 2, i)[0]);
  testing::for_each_level([&] {
    const auto read_fn = FATHOM_SIMD_SELECT(peaks_read);
    for (size_t count : {0, 1, 15, 16, 17, 127, 128, 1023, 2999, 3000}) {
      std::vector<uint32_t> some(words.begin(), words.begin() + static_cast<int64_t>(count));
      const uint32_t expected = exclusive_or(some);
      for (int streams : {1, 4, 8}) {
        for (bool prefetch : {false, true}) {
          EXPECT_EQ(read_fn(some.data(), static_cast<int64_t>(4 * count), streams, prefetch), expected)
              << count << " words, " << streams << " streams";
        }
      }
    }
  });
}

TEST(Peaks, AProbeReadsItsWholeBlockByEveryShape) {
  ThreadPool pool(3);
  SteadyClock clock;
  // The block is i * 2654435761 in word i.
  std::vector<uint32_t> words;
  for (uint32_t i = 0; i < ((3U << 20) + 20) / 4; ++i) words.push_back(i * 2654435761U);
  const uint32_t expected = exclusive_or(words);
  testing::for_each_level([&] {
    ReadProbe probe((int64_t{3} << 20) + 20, pool, clock);
    ASSERT_GE(probe.shapes().size(), 6U);
    std::set<std::string> names;
    for (const ReadShape& shape : probe.shapes()) {
      EXPECT_EQ(probe.pass(shape), expected) << name_of(shape);
      names.insert(name_of(shape));
    }
    EXPECT_EQ(names.size(), probe.shapes().size());
  });
}

TEST(Peaks, RatesArePositiveAndFinite) {
  ThreadPool pool(2);
  SteadyClock clock;
  testing::for_each_level([&] {
    ReadProbe probe(int64_t{4} << 20, pool, clock);
    for (double rate : {probe.calibrate(), probe.measure()})
      EXPECT_TRUE(std::isfinite(rate) && rate > 0) << rate;
    for (DType type : {DType::kF32, DType::kBF16, DType::kI8}) {
      const MultiplyPeak peak = measure_multiply_peak(type, pool, clock);
      EXPECT_TRUE(std::isfinite(peak.flops_per_second) && peak.flops_per_second > 0) << peak.flops_per_second;
      EXPECT_FALSE(peak.loop.empty());
    }
  });
}

// x/2 + 1 goes to 2; a chain's value is the witness that its operations were done.
TEST(Peaks, MultipliesAsOftenAsItSays) {
  testing::for_each_level([&] {
    const auto float_fn = FATHOM_SIMD_SELECT(peaks_multiply_f32);
    const MultiplyResult none = float_fn(0), some = float_fn(100), twice = float_fn(200);
    EXPECT_EQ(none.flops, 0);
    EXPECT_EQ(twice.flops, 2 * some.flops);
    // Chain c starts at c in every lane: 2 flops of a chain, lane and round.
    const double lanes_and_chains = some.flops / 200;
    EXPECT_EQ(some.value, 2 * lanes_and_chains);

    // Chain c counts its rounds from c; a lane multiplies and adds two pairs a round.
    const auto whole_fn = FATHOM_SIMD_SELECT(peaks_multiply_int16);
    EXPECT_EQ(whole_fn(100).flops, 2 * some.flops);
    EXPECT_EQ(whole_fn(300).value - whole_fn(100).value, 200 * lanes_and_chains);

    const auto half_fn = FATHOM_SIMD_SELECT(peaks_multiply_bf16);
    EXPECT_EQ(half_fn(200).flops, 2 * half_fn(100).flops);
    EXPECT_NE(half_fn(200).value, 0);
    if (std::string(half_fn(1).loop).starts_with("vdpbf16ps")) {
      EXPECT_EQ(half_fn(100).flops, 2 * some.flops);
      // Both operands hold equal pairs: a round adds twice 1/2 * 1 or twice 1/4 * 2.
      EXPECT_EQ(half_fn(200).value - half_fn(100).value, half_fn(100).value - half_fn(0).value);
      EXPECT_GT(half_fn(100).value, half_fn(0).value);
    }
  });
}

TEST(Peaks, BlocksAreLargerThanTheCaches) { EXPECT_GE(ReadProbe::bytes_beyond_caches(), int64_t{256} << 20); }

}  // namespace
}  // namespace fathom::kernels
