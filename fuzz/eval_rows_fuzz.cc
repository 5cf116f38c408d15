// Any bytes as a file of each task. Items that are accepted have what scoring relies on: contexts and
// continuations that fit each other, and a right choice among them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "eval/items.h"

namespace {

void use(const fathom::eval::Item& item) {
  const size_t requests = item.requests();
  if (item.contexts.empty() || item.continuations.empty()) std::abort();
  if (item.contexts.size() != 1 && item.contexts.size() != requests) std::abort();
  if (item.continuations.size() != 1 && item.continuations.size() != requests) std::abort();
  if (item.gold < 0 ? requests != 1 : static_cast<size_t>(item.gold) >= requests) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  for (const fathom::eval::Task& task : fathom::eval::all_tasks()) {
    const auto form = fathom::eval::for_each_row(
        task, content,
        [&](const fathom::eval::RowForm& row_form, const nlohmann::json& row) -> fathom::Status {
          const auto item = fathom::eval::make_item(task, row_form, row);
          if (!item.ok()) return item.error();
          use(*item);
          return {};
        });
    if (!form.ok() && form.error().message.empty()) std::abort();
  }
  return 0;
}
