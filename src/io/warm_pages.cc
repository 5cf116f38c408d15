#include "io/warm_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <stop_token>
#include <utility>

namespace fathom {

namespace {

#if defined(MADV_POPULATE_READ)
constexpr int kPopulateRead = MADV_POPULATE_READ;
#else
constexpr int kPopulateRead = 22;  // Linux's number, for a C library that does not know the name
#endif
// Bytes at a time: meanwhile nobody else of the process gets memory from the system.
constexpr uintptr_t kStep = uintptr_t{1} << 20;

}  // namespace

std::jthread warm_pages(std::shared_ptr<const WeightFiles> files) {
  return std::jthread([files = std::move(files)](const std::stop_token& stop) {
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    for (const StoredTensor& tensor : files->tensors()) {
      const std::span<const uint8_t> bytes = tensor.bytes();
      const auto begin = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
      const auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size());
      for (uintptr_t at = begin; at < end; at += kStep) {
        if (stop.stop_requested()) return;
        if (::madvise(reinterpret_cast<void*>(at), std::min(kStep, end - at), kPopulateRead) != 0) return;
      }
    }
  });
}

}  // namespace fathom
