// How near a library's best matrix product comes to the arithmetic ceiling that `fathom bench` divides by:
// oneDNN's product of large square matrices with packed weights, and the ceiling, in turn.
//
// usage: OMP_NUM_THREADS=N library_product [SIZE [ROUNDS]]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "base/isa.h"
#include "base/machine_limits.h"
#include "base/parallel.h"
#include "kernels/peaks/peaks.h"

namespace {

using dnnl::memory;

// y = x w^T, all [size, size], w in the order that the library likes best.
class Product {
 public:
  Product(const dnnl::engine& engine, int64_t size, memory::data_type type) : stream_(engine) {
    const memory::dims shape = {size, size};
    const memory::desc x(shape, type, memory::format_tag::ab), w(shape, type, memory::format_tag::any),
        y(shape, memory::data_type::f32, memory::format_tag::ab);
    const dnnl::matmul::primitive_desc description({x, w, y}, engine);
    x_ = memory(x, engine);
    w_ = memory(description.weights_desc(), engine);
    y_ = memory(y, engine);
    // Small numbers, none of them subnormal: speed does not depend on them otherwise.
    std::vector<float> values(static_cast<size_t>(size * size));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 7) * 0.125F - 0.375F;
    memory plain(memory::desc(shape, memory::data_type::f32, memory::format_tag::ab), engine, values.data());
    dnnl::reorder(plain, x_).execute(stream_, plain, x_);
    dnnl::reorder(plain, w_).execute(stream_, plain, w_);
    stream_.wait();
    product_ = dnnl::matmul(description);
    implementation_ = description.impl_info_str();
  }
  void run() {
    product_.execute(stream_, {{DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, w_}, {DNNL_ARG_DST, y_}});
    stream_.wait();
  }
  const std::string& implementation() const { return implementation_; }

 private:
  dnnl::stream stream_;
  memory x_, w_, y_;
  dnnl::matmul product_;
  std::string implementation_;
};

double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t size = argc > 1 ? std::atoll(argv[1]) : 2048;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 21;
  if (size < 1 || rounds < 1) {
    std::fprintf(stderr, "library_product: SIZE and ROUNDS are numbers of at least 1\n");
    return 2;
  }
  const char* named = std::getenv("OMP_NUM_THREADS");
  const int threads = named != nullptr ? std::max(1, std::atoi(named)) : fathom::available_cores();
  fathom::ThreadPool pool(threads);
  fathom::SteadyClock clock;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  std::printf("%s, %d threads, oneDNN %d.%d.%d, %ld x %ld x %ld, %d rounds, GFLOP/s: median (min-max)\n",
              fathom::processor_name().c_str(), threads, dnnl_version()->major, dnnl_version()->minor,
              dnnl_version()->patch, size, size, size, rounds);
  for (const auto& [name, library_type, type] :
       {std::tuple{"f32", memory::data_type::f32, fathom::DType::kF32},
        std::tuple{"bf16", memory::data_type::bf16, fathom::DType::kBF16}}) {
    Product product(engine, size, library_type);
    product.run();
    std::vector<double> library, ceiling, ratio;
    std::string loop;
    for (int r = 0; r < rounds; ++r) {
      const fathom::kernels::MultiplyPeak peak = fathom::kernels::measure_multiply_peak(type, pool, clock);
      const double start = clock.seconds();
      product.run();
      const double rate = 2.0 * static_cast<double>(size * size * size) / (clock.seconds() - start);
      library.push_back(rate * 1e-9);
      ceiling.push_back(peak.flops_per_second * 1e-9);
      ratio.push_back(rate / peak.flops_per_second);
      loop = peak.loop;
    }
    const auto print = [](const char* what, const std::vector<double>& samples, const char* note) {
      std::printf("  %-8s %7.1f (%.1f-%.1f)  %s\n", what, median(samples), *std::ranges::min_element(samples),
                  *std::ranges::max_element(samples), note);
    };
    std::printf("%s\n", name);
    print("oneDNN", library, product.implementation().c_str());
    print("ceiling", ceiling, loop.c_str());
    std::printf("  ratio    %7.2f (%.2f-%.2f)\n", median(ratio), *std::ranges::min_element(ratio),
                *std::ranges::max_element(ratio));
  }
  return 0;
}
