#include "eval/census_names.h"

#include <algorithm>
#include <vector>

namespace fathom::eval {

namespace {

class NameList {
 public:
  explicit NameList(std::span<const NameShare> names) : names_(names) {
    int64_t sum = 0;
    for (const NameShare& entry : names) reached_.push_back(static_cast<double>(sum += entry.share) / 1000);
  }

  // The first name whose cumulative percentage is above a number below 90.
  const char* draw(PythonRandom& random) const {
    const auto above = std::ranges::upper_bound(reached_, random.uniform() * 90);
    return names_[static_cast<size_t>(above - reached_.begin())].name;
  }

 private:
  std::span<const NameShare> names_;
  std::vector<double>
      reached_;  // percent: the same doubles as the source's decimals, for the same comparisons
};

}  // namespace

std::string draw_full_name(PythonRandom& random) {
  static const NameList male(male_first_names()), female(female_first_names()), last(last_names());
  const NameList& first = random.between(0, 1) == 0 ? male : female;
  std::string name = first.draw(random);
  return name + ' ' + last.draw(random);
}

}  // namespace fathom::eval
