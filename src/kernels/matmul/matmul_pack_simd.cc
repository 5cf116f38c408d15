#include "kernels/matmul/matmul_tile.h"
#include "kernels/simd/columns.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

namespace {

typedef uint32_t UVec __attribute__((vector_size(kLanes * 4)));

// Steps of a transposed operand that go into one strip before the next: strips lie far apart, often by a
// multiple of the caches' sets, and every step reads another row.
constexpr int64_t kStepsTogether = 4;

// bfloat16 as the upper half of a word, NaN kept.
FATHOM_INLINE Vec rounded(Vec x) {
  const UVec bits = (UVec)x;
  const UVec nearest = (bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U;
  const UVec quiet = (bits | 0x400000U) & 0xffff0000U;
  return select((IVec)(x != x), (Vec)quiet, (Vec)nearest);
}

// The first n lanes, where n is a constant once this is inlined.
FATHOM_INLINE void store_first(void* to, Vec v, int n) {
#if defined(FATHOM_HAS_AVX512)
  store_n((float*)to, v, n);
#else
  __builtin_memcpy(to, &v, (size_t)n * sizeof(float));
#endif
}

// n elements, one a lane, as neighbours of a strip.
template <MatmulElement kElement>
FATHOM_INLINE void store_elements(char* to, Vec v, int n) {
  if constexpr (kElement == MatmulElement::kDouble) {
    constexpr int kHalf = kLanes / 2;
    Wide low, high;
    widen(v, &low, &high);
    store_first(to, (Vec)low, 2 * (n < kHalf ? n : kHalf));
    if (n > kHalf) store_first(to + sizeof low, (Vec)high, 2 * (n - kHalf));
  } else {
    store_first(to, v, n);
  }
}

// kLanes steps of one index of an operand with contiguous k, a step a lane; zero where the operand has ended.
template <MatmulElement kElement>
FATHOM_INLINE Vec steps_of_index(const MatmulOperand& from, int64_t index, int64_t step) {
  if (index >= from.count) return Vec{};
  const int64_t k = kElement == MatmulElement::kPair ? 2 * step : step;
  const float* row = from.data + index * from.stride + k;
  const Vec values = load_n(row, lanes_left(from.k - k));
#if defined(FATHOM_SIMD_avx512_bf16)
  if constexpr (kElement == MatmulElement::kPair) {
    const int64_t left = from.k - k - kLanes;
    const Vec more = left > 0 ? load_n(row + kLanes, lanes_left(left)) : Vec{};
    return (Vec)_mm512_cvtne2ps_pbh((__m512)more, (__m512)values);
  }
#endif
  return kElement == MatmulElement::kRounded ? rounded(values) : values;
}

// `count` indices of an operand with contiguous indices at one step, an index a lane.
template <MatmulElement kElement>
FATHOM_INLINE Vec indices_of_step(const MatmulOperand& from, int64_t index, int64_t step, int64_t count) {
  const float* at = from.data + index;
  if constexpr (kElement == MatmulElement::kPair) {
    const Vec even = rounded(load_n(at + 2 * step * from.stride, count));
    const Vec odd = 2 * step + 1 < from.k ? rounded(load_n(at + (2 * step + 1) * from.stride, count)) : Vec{};
    return (Vec)((UVec)even >> 16 | (UVec)odd);
  }
  const Vec values = load_n(at + step * from.stride, count);
  return kElement == MatmulElement::kRounded ? rounded(values) : values;
}

// Where an operand goes: strips of kWidth indices.
template <MatmulElement kElement, int kWidth>
struct Strips {
  explicit Strips(const MatmulPack& args)
      : from(args.operand), packed((char*)args.packed), steps(steps_of(kElement, from.k)) {}

  // Up to kLanes indices at a time of a strip that is kWidth wide.
  static constexpr int width_at(int first) { return kWidth - first < kLanes ? kWidth - first : kLanes; }
  char* place(int64_t strip, int64_t step, int first) const {
    return packed + ((strip * steps + step) * kWidth + first) * bytes_of(kElement);
  }

  // k contiguous: kLanes steps of kLanes indices become columns.
  void pack_strip(int64_t strip) const {
    for (int64_t step = 0; step < steps; step += kLanes) {
      for (int first = 0; first < kWidth; first += kLanes) {
        Vec v[kLanes];
        for (int i = 0; i < kLanes; ++i) {
          v[i] =
              i < width_at(first) ? steps_of_index<kElement>(from, strip * kWidth + first + i, step) : Vec{};
        }
        transpose(v);
        const int64_t count = lanes_left(steps - step);
        for (int s = 0; s < count; ++s) {
          store_elements<kElement>(place(strip, step + s, first), v[s], width_at(first));
        }
      }
    }
  }

  void pack_step(int64_t strip, int64_t step) const {
    for (int first = 0; first < kWidth; first += kLanes) {
      const int64_t index = strip * kWidth + first, left = from.count - index;
      const int64_t count = left < width_at(first) ? (left > 0 ? left : 0) : width_at(first);
      const Vec v = indices_of_step<kElement>(from, index, step, count);
      store_elements<kElement>(place(strip, step, first), v, width_at(first));
    }
  }

  MatmulOperand from;
  char* packed;
  int64_t steps;
};

template <MatmulElement kElement, int kWidth>
void pack_strips(const MatmulPack& args, int64_t begin, int64_t end) {
  const Strips<kElement, kWidth> strips(args);
  for (int64_t strip = begin; strip < end; ++strip) strips.pack_strip(strip);
}

template <MatmulElement kElement, int kWidth>
void pack_steps(const MatmulPack& args, int64_t begin, int64_t end) {
  const Strips<kElement, kWidth> strips(args);
  const int64_t count = (args.operand.count + kWidth - 1) / kWidth;
  for (int64_t block = begin; block < end; block += kStepsTogether) {
    const int64_t block_end = block + kStepsTogether < end ? block + kStepsTogether : end;
    for (int64_t strip = 0; strip < count; ++strip) {
      for (int64_t step = block; step < block_end; ++step) strips.pack_step(strip, step);
    }
  }
}

template <MatmulPrecision kPrecision>
void pack_as(const MatmulPack& args, int64_t begin, int64_t end) {
  constexpr MatmulLayout kLayout = layout_of(kPrecision);
  if (args.side == MatmulSide::kRows) {
    const auto pack =
        args.operand.transposed ? pack_steps<kLayout.a, kLayout.rows> : pack_strips<kLayout.a, kLayout.rows>;
    return pack(args, begin, end);
  }
  const auto pack = args.operand.transposed ? pack_steps<kLayout.b, kLayout.columns>
                                            : pack_strips<kLayout.b, kLayout.columns>;
  pack(args, begin, end);
}

}  // namespace

void matmul_pack(const MatmulPack& args, int64_t begin, int64_t end) {
  switch (args.precision) {
    case MatmulPrecision::kF32DoubleSums:
      return pack_as<MatmulPrecision::kF32DoubleSums>(args, begin, end);
    case MatmulPrecision::kF32:
      return pack_as<MatmulPrecision::kF32>(args, begin, end);
    case MatmulPrecision::kBF16:
      return pack_as<MatmulPrecision::kBF16>(args, begin, end);
  }
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
