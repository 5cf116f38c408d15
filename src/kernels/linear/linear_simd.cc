#include "kernels/linear/linear_formats.h"
#include "kernels/linear/linear_groups.h"
#include "kernels/linear/linear_levels.h"

namespace fathom::kernels::FATHOM_SIMD_LEVEL {

namespace {

// An output is one accumulator over the input in steps, the last step masked, then one tree. Everything below
// only decides which accumulators are worked on side by side, so blocks and tiles may be cut anywhere.

constexpr int kStreamOuts = 4;

// Sequences of weights that `rows` rows read, each far enough from the others to be foreseen by itself. More
// rows need the registers.
constexpr int streams_of(int rows) { return rows == 1 ? 4 : 2; }

// R x O accumulators over `count` inputs.
template <class F, int R, int O>
FATHOM_INLINE void accumulate(const char* x, int64_t x_stride, const char* weight, int64_t weight_stride,
                              int64_t count, Ahead& ahead, typename F::Sum total[R][O]) {
  constexpr int64_t kStepBytes = F::kStep * F::kWeightBytes;
  int64_t i = 0;
  for (; i + F::kStep <= count; i += F::kStep) {
    ahead.fetch_elsewhere(kStepBytes);
    for (int part = 0; part < F::kParts; ++part) {
      typename F::Operand xs[R];
      for (int r = 0; r < R; ++r) xs[r] = F::input(x + r * x_stride + i * F::kInputBytes, part);
      for (int o = 0; o < O; ++o) {
        const char* const at = weight + o * weight_stride + i * F::kWeightBytes;
        if (part == 0) ahead.fetch_behind(at, kStepBytes);
        const typename F::Operand w = F::weight(at, part);
        for (int r = 0; r < R; ++r) total[r][o] = F::multiply_add(xs[r], w, total[r][o]);
      }
    }
  }
  if (i < count) {
    for (int part = 0; part < F::kParts; ++part) {
      for (int o = 0; o < O; ++o) {
        const typename F::Operand w =
            F::weight_n(weight + o * weight_stride + i * F::kWeightBytes, part, count - i);
        for (int r = 0; r < R; ++r) {
          const typename F::Operand xs = F::input_n(x + r * x_stride + i * F::kInputBytes, part, count - i);
          total[r][o] = F::multiply_add(xs, w, total[r][o]);
        }
      }
    }
  }
}

// The same as floats: whole numbers become floats before they can overflow.
template <class F, int R, int O>
FATHOM_INLINE void accumulate_floats(const char* x, int64_t x_stride, const char* weight,
                                     int64_t weight_stride, int64_t count, Ahead ahead, Vec total[R][O]) {
  if constexpr (__is_same(typename F::Sum, Vec)) {
    accumulate<F, R, O>(x, x_stride, weight, weight_stride, count, ahead, total);
  } else {
    constexpr int64_t kMost = F::kMostSteps * F::kStep;
    for (int64_t first = 0; first < count; first += kMost) {
      typename F::Sum part[R][O] = {};
      accumulate<F, R, O>(x + first * F::kInputBytes, x_stride, weight + first * F::kWeightBytes,
                          weight_stride, count - first < kMost ? count - first : kMost, ahead, part);
      for (int r = 0; r < R; ++r) {
        for (int o = 0; o < O; ++o) total[r][o] = total[r][o] + __builtin_convertvector(part[r][o], Vec);
      }
    }
  }
}

// Sums the accumulators, kLanes of them at a time, and writes the outputs.
template <int R, int O>
FATHOM_INLINE void finish(const LinearFwd& args, const LinearRows& x, int64_t row, int64_t out,
                          Vec total[R][O]) {
  static_assert(O <= kLanes);
  constexpr int kGroups = (R * O + kLanes - 1) / kLanes;
  float sums[kGroups * kLanes];
  for (int g = 0; g < kGroups; ++g) {
    Vec group[kLanes] = {};
    for (int i = 0; i < kLanes && g * kLanes + i < R * O; ++i) {
      group[i] = total[(g * kLanes + i) / O][(g * kLanes + i) % O];
    }
    store(sums + g * kLanes, sum_each(group));
  }
  for (int r = 0; r < R; ++r) {
    float* y = args.y + (row + r) * args.y_stride + out;
    Vec value = load_n(sums + r * O, O);
    if (args.weight_scale != nullptr) value = value * load_n(args.weight_scale + out, O);
    if (x.scale != nullptr) value = value * x.scale[row + r];
    if (args.out_scale != nullptr) value = value * load_n(args.out_scale + out, O);
    if (args.bias != nullptr) value = value + load_n(args.bias + out, O);
    value = value * args.scale;
    if (args.accumulate) value = load_n(y, O) + value;
    store_n(y, value, O);
  }
}

FATHOM_INLINE const char* input_at(const LinearRows& x, int64_t row) {
  return (const char*)x.data + row * x.stride;
}
template <class F>
FATHOM_INLINE int64_t row_bytes(int64_t in) {
  if constexpr (__is_same(F, Int4Format)) {
    return (in + int4::kChunk - 1) / int4::kChunk * int4::kChunkBytes;
  } else {
    return in * F::kWeightBytes;
  }
}
template <class F>
FATHOM_INLINE const char* weight_at(const LinearFwd& args, int64_t out) {
  return (const char*)args.weight + out * row_bytes<F>(args.in);
}

// R x O outputs of rows from `row` and outputs from `out`, `apart` from each other, before they are finished.
template <class F, int R, int O>
FATHOM_INLINE void meet(const LinearFwd& args, const LinearRows& x, int64_t row, int64_t out, int64_t apart,
                        Ahead ahead, Vec total[R][O]) {
  const char* const weight = weight_at<F>(args, out);
  const int64_t stride = apart * row_bytes<F>(args.in);
  if constexpr (__is_same(F, Int4Format)) {
    const int64_t groups = (args.in + args.group - 1) / args.group;
    const char* const words = (const char*)args.groups + out * groups * kWordBytes;
    meet_groups<R, O>(input_at(x, row), x.stride, {weight, stride, words, apart * groups * kWordBytes},
                      args.in, args.group, ahead, total);
  } else {
    accumulate_floats<F, R, O>(input_at(x, row), x.stride, weight, stride, args.in, ahead, total);
  }
}

// Few rows wait for the weights. Memory is read in S streams: outputs `apart` from each other meet all rows
// side by side. O outputs of a stream are summed together at the end.
template <class F, int R, int O, int S>
FATHOM_INLINE void stream(const LinearFwd& args, const LinearRows& x, int64_t row, int64_t out,
                          int64_t apart) {
  Vec total[S][R][O];
  for (int o = 0; o < O; ++o) {
    Vec one[R][S] = {};
    meet<F, R, S>(args, x, row, out + o, apart, {.distance = kFetchAhead}, one);
    for (int s = 0; s < S; ++s) {
      for (int r = 0; r < R; ++r) total[s][r][o] = one[r][s];
    }
  }
  for (int s = 0; s < S; ++s) finish<R, O>(args, x, row, out + s * apart, total[s]);
}

template <class F, int R>
FATHOM_INLINE void stream_block(const LinearFwd& args, const LinearRows& x, int64_t rows, int64_t row,
                                int64_t out_begin, int64_t out_end) {
  if (rows == R) {
    constexpr int kStreams = streams_of(R);
    constexpr int kOuts = R == 1 ? kLanes / 2 : kStreamOuts;
    const int64_t apart = (out_end - out_begin) / kStreams;
    int64_t out = out_begin;
    for (; out + kOuts <= out_begin + apart; out += kOuts) {
      stream<F, R, kOuts, kStreams>(args, x, row, out, apart);
    }
    for (; out < out_begin + apart; ++out) stream<F, R, 1, kStreams>(args, x, row, out, apart);
    for (out = out_begin + kStreams * apart; out < out_end; ++out) stream<F, R, 1, 1>(args, x, row, out, 0);
  } else if constexpr (R > 1) {
    stream_block<F, R - 1>(args, x, rows, row, out_begin, out_end);
  }
}

// Many rows wait for the multiplier: R x O accumulators stay in registers.
template <class F, int R, int O>
FATHOM_INLINE void tile(const LinearFwd& args, const LinearRows& x, int64_t row, int64_t out, Ahead ahead) {
  Vec total[R][O] = {};
  meet<F, R, O>(args, x, row, out, 1, ahead, total);
  finish<R, O>(args, x, row, out, total);
}

template <class F, int R, int O>
FATHOM_INLINE void tile_rows(const LinearFwd& args, const LinearRows& x, int64_t rows, int64_t row,
                             int64_t out, Ahead ahead) {
  if (rows == R) return tile<F, R, O>(args, x, row, out, ahead);
  if constexpr (R > 1) tile_rows<F, R - 1, O>(args, x, rows, row, out, ahead);
}

// The weights of O outputs stay in cache while all rows of the block meet them. Meanwhile those of the next O
// are fetched in one stream, each tile of rows its share.
template <class F, int O>
FATHOM_INLINE void tile_outputs(const LinearFwd& args, const LinearRows& x, int64_t row_begin,
                                int64_t row_end, int64_t out) {
  const int64_t tiles = (row_end - row_begin + F::kTileRows - 1) / F::kTileRows;
  const int64_t share = (O + tiles - 1) / tiles;
  int64_t next = out + O;
  for (int64_t row = row_begin; row < row_end; row += F::kTileRows, next += share) {
    const int64_t rows = row_end - row < F::kTileRows ? row_end - row : F::kTileRows;
    tile_rows<F, F::kTileRows, O>(
        args, x, rows, row, out,
        {.weight = weight_at<F>(args, next), .outs = next < out + 2 * O ? share : 0});
  }
}

template <class F>
FATHOM_INLINE void tile_block(const LinearFwd& args, const LinearRows& x, int64_t row_begin, int64_t row_end,
                              int64_t out_begin, int64_t out_end) {
  int64_t out = out_begin;
  for (; out + F::kTileOuts <= out_end; out += F::kTileOuts) {
    tile_outputs<F, F::kTileOuts>(args, x, row_begin, row_end, out);
  }
  for (; out + 2 <= out_end; out += 2) tile_outputs<F, 2>(args, x, row_begin, row_end, out);
  for (; out < out_end; ++out) tile_outputs<F, 1>(args, x, row_begin, row_end, out);
}

template <class F>
FATHOM_INLINE void block(const LinearFwd& args, const LinearRows& x, int64_t row_begin, int64_t row_end,
                         int64_t out_begin, int64_t out_end) {
  if (row_end - row_begin <= F::kStreamRows) {
    stream_block<F, F::kStreamRows>(args, x, row_end - row_begin, row_begin, out_begin, out_end);
  } else {
    tile_block<F>(args, x, row_begin, row_end, out_begin, out_end);
  }
}

// The lower halves of the lanes.
FATHOM_INLINE void store_halves(int16_t* p, IVec v) {
  const HVec halves = __builtin_convertvector(v, HVec);
  __builtin_memcpy(p, &halves, sizeof halves);
}

template <class F>
FATHOM_INLINE int64_t packed_bytes(int64_t in) {
  return (in + F::kStep - 1) / F::kStep * F::kStep * F::kInputBytes;
}

}  // namespace

void linear_fwd_block(const LinearFwd& args, const LinearRows& x, int64_t row_begin, int64_t row_end,
                      int64_t out_begin, int64_t out_end) {
  if (args.weight_type == DType::kF32) {
    block<F32Format>(args, x, row_begin, row_end, out_begin, out_end);
  } else if (args.weight_type == DType::kI4) {
    block<Int4Format>(args, x, row_begin, row_end, out_begin, out_end);
  } else if (args.weight_type == DType::kI8) {
    block<Int8Format>(args, x, row_begin, row_end, out_begin, out_end);
  } else {
    block<Bf16Format>(args, x, row_begin, row_end, out_begin, out_end);
  }
}

int64_t linear_packed_bytes(int64_t in, DType weight_type, int64_t group) {
  if (weight_type == DType::kI4) return vectors_bytes(in, group) + sums_bytes(in, group);
  return weight_type == DType::kI8 ? packed_bytes<Int8Format>(in) : packed_bytes<Bf16Format>(in);
}

void linear_pack_row(const float* x, int64_t in, void* packed) {
  char* to = (char*)packed;
  for (int64_t i = 0; i < in; i += Bf16Format::kStep) {
    uint16_t values[2 * kLanes] = {};
    store_bf16_n(values, load_n(x + i, lanes_left(in - i)), kLanes);
    const int64_t rest = in - i - kLanes;
    if (rest > 0) store_bf16_n(values + kLanes, load_n(x + i + kLanes, lanes_left(rest)), kLanes);
    for (int part = 0; part < Bf16Format::kParts; ++part) {
      // A step of inputs is made of a step of bfloat16 values as one of weights is.
      const typename Bf16Format::Operand operand = Bf16Format::weight((const char*)values, part);
      __builtin_memcpy(to, &operand, sizeof operand);
      to += sizeof operand;
    }
  }
}

namespace {

// The scale of a row's whole numbers: NaN where a value is not finite.
FATHOM_INLINE float row_scale(const float* x, int64_t in) {
  constexpr int32_t kSign = (int32_t)0x80000000;
  Vec most = {}, not_finite = {};
  for (int64_t i = 0; i < in; i += kLanes) {
    const Vec value = load_n(x + i, lanes_left(in - i));
    most = max((Vec)((IVec)value & ~kSign), most);
    not_finite = not_finite + (value - value);  // 0, or NaN for ever
  }
  const float bad = sum(not_finite);
  return bad != 0 ? bad : max_lane(most) / kLinearRowLimit;
}

// Whole numbers of x[0..count), zeros up to `padded`, a multiple of kLanes; their sum.
FATHOM_INLINE int32_t whole_numbers(const float* x, int64_t count, int64_t padded, float scale, int16_t* to) {
  const Vec limit = broadcast(kLinearRowLimit), magic = broadcast(12582912.0F);  // 1.5 * 2^23 rounds
  IVec total = {};
  for (int64_t i = 0; i < padded; i += kLanes) {
    const int64_t left = count - i;
    const Vec value = left > 0 ? load_n(x + i, lanes_left(left)) : Vec{};
    const IVec whole =
        __builtin_convertvector(max(min((value / scale + magic) - magic, limit), -limit), IVec);
    store_halves(to + i, whole);
    total = total + whole;
  }
  int32_t sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += total[lane];
  return sum;
}

}  // namespace

float linear_quantise_row(const float* x, int64_t in, void* packed) {
  const int64_t bytes = packed_bytes<Int8Format>(in);
  const float scale = row_scale(x, in);
  if (scale > 0) {
    whole_numbers(x, in, bytes / 2, scale, (int16_t*)packed);
  } else {
    __builtin_memset(packed, 0, (size_t)bytes);
  }
  return scale;
}

float linear_quantise_groups(const float* x, int64_t in, int64_t group, void* packed) {
  const int64_t vectors = vectors_bytes(in, group);
  __builtin_memset(packed, 0, (size_t)(vectors + sums_bytes(in, group)));
  const float scale = row_scale(x, in);
  if (!(scale > 0)) return scale;
  float* const sums = (float*)((char*)packed + vectors);
  for (Side side = Side::behind(in, group, 0); side.more(); side.next()) {
    for (int64_t g = 0; g < side.groups; ++g) {
      const int64_t first = (side.first + g) * group, left = in - first;
      int16_t whole[kMostGroup];
      sums[side.first + g] = (float)whole_numbers(x + first, left < group ? left : group,
                                                  side.chunks * int4::kChunk, scale, whole);
      char* const to = (char*)packed + side.vectors_before + g / kGroupsOfVector * side.vectors_of_part();
      put_group(whole, side.chunks, g % kGroupsOfVector, to);
    }
  }
  return scale;
}

}  // namespace fathom::kernels::FATHOM_SIMD_LEVEL
