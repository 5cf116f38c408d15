// Ticks are round, few, in order and inside; places run from 0 to 1.
#include "cli/plot/axis.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"
#include "base/random.h"

namespace fathom::cli::plot {
namespace {

std::vector<std::string> labels(const Axis& axis, int most) {
  std::vector<std::string> found;
  for (const Tick& tick : axis.ticks(most)) found.push_back(tick.label);
  return found;
}
using Labels = std::vector<std::string>;

TEST(Axis, LinearTicks) {
  EXPECT_EQ(labels({0, 10, false, Unit::kNumber}, 6), (Labels{"0", "2", "4", "6", "8", "10"}));
  EXPECT_EQ(labels({-0.3, 0.31, false, Unit::kNumber}, 8),
            (Labels{"-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3"}));
  EXPECT_EQ(labels({3.87, 4.51, false, Unit::kNumber}, 5), (Labels{"4.0", "4.2", "4.4"}));
  EXPECT_EQ(labels({1e-5, 4e-5, false, Unit::kNumber}, 4), (Labels{"1e-05", "2e-05", "3e-05", "4e-05"}));
}

TEST(Axis, CountsTakePrefixes) {
  EXPECT_EQ(labels({0, 240, false, Unit::kCount}, 6), (Labels{"0", "50", "100", "150", "200"}));
  EXPECT_EQ(labels({0, 40000, false, Unit::kCount}, 5), (Labels{"0", "10 k", "20 k", "30 k", "40 k"}));
  EXPECT_EQ(labels({0, 2.6e6, false, Unit::kCount}, 6),
            (Labels{"0", "500 k", "1.0 M", "1.5 M", "2.0 M", "2.5 M"}));
  EXPECT_EQ(labels({1e15, 3e15, false, Unit::kCount}, 3), (Labels{"1 P", "2 P", "3 P"}));
  EXPECT_EQ(labels({0, 3, false, Unit::kCount}, 8), (Labels{"0", "1", "2", "3"}))
      << "nothing lies between counts";
}

TEST(Axis, TimesAreInTheUnitPeopleWouldUse) {
  const Axis minutes(0, 3600, false, Unit::kSeconds);
  EXPECT_EQ(minutes.unit_name(), "min");
  EXPECT_EQ(labels(minutes, 7), (Labels{"0", "10", "20", "30", "40", "50", "60"}));
  const Axis hours(0, 3 * 3600, false, Unit::kSeconds);
  EXPECT_EQ(hours.unit_name(), "h");
  EXPECT_EQ(labels(hours, 8), (Labels{"0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0"}));
  EXPECT_EQ(Axis(0, 90, false, Unit::kSeconds).unit_name(), "s");
  EXPECT_EQ(Axis(0, 5e5, false, Unit::kSeconds).unit_name(), "d");
}

TEST(Axis, LogarithmicTicks) {
  EXPECT_EQ(labels({1, 1000, true, Unit::kNumber}, 5), (Labels{"1", "10", "100", "1000"}));
  EXPECT_EQ(labels({1, 1e18, true, Unit::kCount}, 4), (Labels{"1", "100 k", "10 G", "1 P"}));
  EXPECT_EQ(labels({3.5, 9, true, Unit::kNumber}, 7), (Labels{"4", "5", "6", "7", "8", "9"}));
  EXPECT_EQ(labels({4.1, 4.9, true, Unit::kNumber}, 5).size(), 4U)
      << "no round number in a decade: as on a linear axis";
}

// Any axis: at least two ticks, at most a few more than asked, inside, ascending, labels all different.
TEST(Axis, TicksOfAnyRange) {
  for (uint64_t n = 0; n < 3000; ++n) {
    const double size = std::pow(10.0, 24.0 * uniform(1, 0, n) - 8.0);
    const bool log = n % 3 == 0;
    const Unit unit = n % 2 == 0 ? Unit::kNumber : n % 4 == 1 ? Unit::kCount : Unit::kSeconds;
    double low = size * (log ? 0.001 + uniform(1, 1, n) : 2 * uniform(1, 1, n) - 1);
    if (unit != Unit::kNumber) low = std::fabs(low) * (log ? 1.0 : 0.0) + (log ? 1.0 : 0.0);
    const double high = low + size * (0.01 + uniform(1, 2, n)) + (unit == Unit::kNumber ? 0 : 4);
    const Axis axis(low, high, log, unit);
    const std::vector<Tick> ticks = axis.ticks(8);
    SCOPED_TRACE(::testing::Message()
                 << low << " to " << high << (log ? " log" : "") << " unit " << int(unit));
    ASSERT_GE(ticks.size(), 2U);
    EXPECT_LE(ticks.size(), 17U);
    for (size_t i = 0; i < ticks.size(); ++i) {
      EXPECT_GE(axis.place(ticks[i].value), -1e-6);
      EXPECT_LE(axis.place(ticks[i].value), 1 + 1e-6);
      EXPECT_LE(ticks[i].label.size(), 12U) << ticks[i].label;
      if (i == 0) continue;
      EXPECT_GT(ticks[i].value, ticks[i - 1].value);
      EXPECT_NE(ticks[i].label, ticks[i - 1].label);
    }
  }
}

// Ends so near to each other that no step between them changes a double.
TEST(Axis, EndsThatDoublesHardlyTellApartAreMovedApart) {
  const std::pair<double, double> ranges[] = {{9007199254740992, 9007199254740994},
                                              {1e20, 1.0000000000000003e20},
                                              {-1.0000000000000003e20, -1e20},
                                              {1, 1 + 1e-13}};
  for (const auto& [low, high] : ranges) {
    for (const Unit unit : {Unit::kNumber, Unit::kCount, Unit::kSeconds}) {
      for (const bool log : {false, true}) {
        if (log && low <= 0) continue;
        SCOPED_TRACE(::testing::Message() << low << (log ? " log" : "") << " unit " << int(unit));
        Axis axis(low, high, log, unit);
        axis.widen_to_ticks(8);
        EXPECT_LT(axis.low(), low - 0.1 * std::fabs(low));
        EXPECT_GT(axis.high(), high + 0.1 * std::fabs(high));
        const std::vector<Tick> ticks = axis.ticks(8);
        EXPECT_GE(ticks.size(), 2U);
        EXPECT_LE(ticks.size(), 17U);
      }
    }
  }
  const Axis near(4, 4 + 1e-9, false, Unit::kNumber);
  EXPECT_EQ(near.low(), 4) << "what can be told apart is";
}

TEST(Axis, PlacesAndWidening) {
  const Axis log(1, 100, true, Unit::kNumber);
  EXPECT_DOUBLE_EQ(log.place(10), 0.5);
  Axis axis(3.87, 8.34, false, Unit::kNumber);
  axis.widen_to_ticks(6);
  EXPECT_DOUBLE_EQ(axis.low(), 3);
  EXPECT_DOUBLE_EQ(axis.high(), 9);
  const Axis flat(5, 5, false, Unit::kNumber);
  EXPECT_DOUBLE_EQ(flat.place(5), 0.5);
  EXPECT_THROW(Axis(0, 1, true, Unit::kNumber), CheckFailure);
}

}  // namespace
}  // namespace fathom::cli::plot
