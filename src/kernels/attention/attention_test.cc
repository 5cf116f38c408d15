#include "kernels/attention/attention.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "base/isa.h"
#include "kernels/common/testing.h"

namespace fathom::kernels {
namespace {

using testing::Buffer;

struct Shape {
  int64_t heads, kv_heads, head_dim, keys, window, stripes = 1;
  int64_t row_size() const { return heads * stripes * head_dim; }  // of an output
  AttentionExtents extents() const { return {keys, heads, head_dim, stripes, keys}; }
};

const Shape kShapes[] = {{1, 1, 1, 1, 0},
                         {2, 1, 6, 5, 0},
                         {4, 2, 8, 70, 5},
                         {3, 3, 24, 130, 64},
                         {6, 2, 64, 65, 0},
                         {2, 2, 96, 700, 300},
                         {4, 1, 20, 1100, 0},
                         {2, 1, 8, 600, 1},
                         // Two and three stripes: one head or several of each, units alone and side by side.
                         {2, 2, 6, 5, 0, 2},
                         {8, 4, 8, 70, 5, 2},
                         {4, 2, 64, 520, 0, 2},
                         {20, 4, 20, 130, 64, 2},
                         {6, 6, 24, 300, 0, 3},
                         {16, 2, 7, 65, 0, 2}};

// Scratch is full of NaN: what a kernel has not written must not matter, not even times zero.
constexpr uint8_t kNaNByte = 0xff;

// One sequence of `keys` entries, each attended from its own row; blocks lie scattered in memory.
struct Case {
  Case(Shape s, DType kv_type, float share = 0, KeyLayout kv_layout = KeyLayout::kRows)
      : shape(s),
        type(kv_type),
        layout(kv_layout),
        k_places(key_places(kv_layout, kv_type, s.kv_heads, s.head_dim)),
        v_places(value_places(kv_layout, s.kv_heads, s.head_dim)),
        dropout{.share = share, .seed = 7, .stream = 9} {
    const int64_t entry = s.kv_heads * s.head_dim;
    q = Buffer::normal(s.keys * s.heads * s.head_dim, 1);
    k = Buffer::normal(s.keys * entry, 2);
    v = Buffer::normal(s.keys * entry, 3);
    out = Buffer(s.keys * s.row_size());
    lse = Buffer(s.keys * s.heads);
    const int64_t blocks = (s.keys + kKeyBlock - 1) / kKeyBlock;
    storage.resize(static_cast<size_t>(2 * blocks * kKeyBlock * entry * size_of(type)),
                   0xff);  // NaN behind the end
    for (int64_t b = 0; b < blocks; ++b) {
      // The last block comes first in memory.
      uint8_t* kb = storage.data() + 2 * (blocks - 1 - b) * kKeyBlock * entry * size_of(type);
      uint8_t* vb = kb + kKeyBlock * entry * size_of(type);
      k_blocks.push_back(kb);
      v_blocks.push_back(vb);
    }
    for (int64_t i = 0; i < s.keys * entry; ++i) {
      put_key(i / entry, i % entry, k[i]);
      put_value(i / entry, i % entry, v[i]);
    }
    for (int64_t r = 0; r < s.keys; ++r) {
      key_begin.push_back(static_cast<int32_t>(s.window > 0 ? std::max<int64_t>(0, r + 1 - s.window) : 0));
      key_end.push_back(static_cast<int32_t>(r + 1));
    }
    list = {k_blocks.data(), v_blocks.data()};
    workspace.resize(static_cast<size_t>(attention_fwd_workspace(s.extents(), 4)), kNaNByte);
  }
  void put(uint8_t* block, int64_t i, float value) const {
    if (type == DType::kF32) {
      reinterpret_cast<float*>(block)[i] = value;
    } else {
      reinterpret_cast<BFloat16*>(block)[i] = to_bfloat16(value);
    }
  }
  // Element `at` of the key or value of entry j.
  void put_key(int64_t j, int64_t at, float value) { put_entry(k_blocks, k_places, j, at, value); }
  void put_value(int64_t j, int64_t at, float value) { put_entry(v_blocks, v_places, j, at, value); }
  void put_entry(const std::vector<const void*>& blocks, const KeyPlaces& places, int64_t j, int64_t at,
                 float value) const {
    auto* block = static_cast<uint8_t*>(const_cast<void*>(blocks[static_cast<size_t>(j / kKeyBlock)]));
    put(block, places.at(at / shape.head_dim, at % shape.head_dim, j % kKeyBlock), value);
  }
  AttentionFwd fwd() {
    return {.q = q.data(),
            .key_begin = key_begin.data(),
            .key_end = key_end.data(),
            .sequences = &list,
            .kv_type = type,
            .kv_layout = layout,
            .out = out.data(),
            .lse = lse.data(),
            .rows = shape.keys,
            .heads = shape.heads,
            .kv_heads = shape.kv_heads,
            .head_dim = shape.head_dim,
            .stripes = shape.stripes,
            .scale = 0.4F,
            .dropout = dropout,
            .workspace = workspace.data()};
  }
  Shape shape;
  DType type;
  KeyLayout layout;
  KeyPlaces k_places, v_places;
  AttentionDropout dropout;
  Buffer q{0}, k{0}, v{0}, out{0}, lse{0};
  std::vector<uint8_t> storage, workspace;
  std::vector<const void*> k_blocks, v_blocks;
  std::vector<int32_t> key_begin, key_end;
  KeyList list;
};

TEST(Attention, RefOfOneKeyIsItsValue) {
  Case c({2, 1, 6, 5, 1}, DType::kF32);
  attention_fwd_ref(c.fwd());
  for (int64_t r = 0; r < 5; ++r) {
    for (int64_t d = 0; d < 6; ++d) EXPECT_EQ(c.out[(r * 2 + 1) * 6 + d], c.v[r * 6 + d]);
  }
}

TEST(Attention, AnEmptyRangeGivesZeros) {
  Case c({2, 1, 6, 5, 0}, DType::kF32);
  c.key_end[2] = c.key_begin[2] = 2;
  SerialParallel serial;
  attention_fwd_cpu(c.fwd(), serial);
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(c.out[2 * 12 + i], 0.0F);
}

// Rows all together, and the last few one by one, as in decoding.
TEST(Attention, PanelsGiveTheBitsOfRows) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      for (DType type : {DType::kF32, DType::kBF16}) {
        for (float share : {0.0F, 0.3F}) {
          if (panel_layout(type, shape.head_dim) == KeyLayout::kRows) continue;
          Case rows(shape, type, share), panels(shape, type, share, KeyLayout::kPanels), ref(panels);
          attention_fwd_cpu(rows.fwd(), pool);
          attention_fwd_cpu(panels.fwd(), pool);
          EXPECT_TRUE(testing::same_bits(panels.out, rows.out)) << shape.head_dim << " " << shape.keys;
          EXPECT_TRUE(testing::same_bits(panels.lse, rows.lse));
          ref.list = {ref.k_blocks.data(), ref.v_blocks.data()};
          attention_fwd_ref(ref.fwd());
          EXPECT_LE(testing::relative_error(panels.out, ref.out), 3e-6);
          if (share > 0) continue;  // decisions are a row's
          for (int64_t r = std::max<int64_t>(0, shape.keys - 3); r < shape.keys; ++r) {
            AttentionFwd one = panels.fwd();
            one.q += r * shape.heads * shape.head_dim;
            one.key_begin += r;
            one.key_end += r;
            one.rows = 1;
            Buffer out(shape.row_size());
            one.out = out.data();
            one.lse = nullptr;
            attention_fwd_cpu(one, pool);
            EXPECT_EQ(std::memcmp(out.data(), rows.out.data() + r * shape.row_size(),
                                  static_cast<size_t>(shape.row_size()) * sizeof(float)),
                      0)
                << shape.head_dim << " " << shape.keys << " row " << r;
            EXPECT_TRUE(out.intact());
          }
        }
      }
    }
  });
}

TEST(Attention, CpuEqualsRef) {
  ThreadPool pool(3);
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      for (DType type : {DType::kF32, DType::kBF16}) {
        for (float share : {0.0F, 0.3F}) {
          Case ref(shape, type, share), cpu(shape, type, share);
          attention_fwd_ref(ref.fwd());
          attention_fwd_cpu(cpu.fwd(), pool);
          EXPECT_LE(testing::relative_error(cpu.out, ref.out), 3e-6) << shape.head_dim << " " << shape.keys;
          EXPECT_LE(testing::relative_error(cpu.lse, ref.lse), 3e-6);
          EXPECT_TRUE(cpu.out.intact() && cpu.lse.intact());
        }
      }
    }
  });
}

// With values of one and equal keys an output is the share that was kept, divided by what is expected of it.
TEST(Attention, DropoutKeepsItsShareOfEveryQuerysKeys) {
  Case c({4, 2, 8, 1100, 0}, DType::kF32, 0.25F);
  for (int64_t i = 0; i < 1100 * 16; ++i) {
    const auto block = static_cast<size_t>(i / 16 / kKeyBlock);
    c.put(static_cast<uint8_t*>(const_cast<void*>(c.k_blocks[block])), i % (kKeyBlock * 16), 0.0F);
    c.put(static_cast<uint8_t*>(const_cast<void*>(c.v_blocks[block])), i % (kKeyBlock * 16), 1.0F);
  }
  SerialParallel serial;
  attention_fwd_cpu(c.fwd(), serial);
  double total = 0;
  int alike = 0;
  for (int64_t r = 100; r < 1100; ++r) {
    const double keys = static_cast<double>(r + 1), deviation = std::sqrt(0.25 / 0.75 / keys);
    for (int64_t h = 0; h < 4; ++h) {
      const double kept = c.out[(r * 4 + h) * 8];
      EXPECT_NEAR(kept, 1, 5 * deviation) << r << " " << h;
      total += kept / 4000;
    }
    alike += c.out[r * 32] == c.out[r * 32 + 8] ? 1 : 0;
  }
  EXPECT_NEAR(total, 1, 5e-3);
  EXPECT_LT(alike, 100) << "of 1000 rows whose first heads dropped as many keys";
}

// The same rows in calls of other sizes, with other numbers of threads, one by one as in decoding.
TEST(Attention, BitsDoNotDependOnChunksOrThreads) {
  ThreadPool pool(4);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      Case whole(shape, shape.keys % 3 == 1 ? DType::kBF16 : DType::kF32);
      attention_fwd_cpu(whole.fwd(), pool);
      const int64_t row_size = shape.row_size();
      uint64_t draw = 0;
      for (int64_t at = 0; at < shape.keys;) {
        const int64_t rows =
            std::min<int64_t>(shape.keys - at, 1 + static_cast<int64_t>(philox(3, 4, draw++)[0] % 40));
        Buffer part(rows * row_size);
        AttentionFwd args = whole.fwd();
        args.q += at * shape.heads * shape.head_dim;
        args.key_begin += at;
        args.key_end += at;
        args.out = part.data();
        args.lse = nullptr;
        args.rows = draw % 2 == 0 ? rows : 1;
        attention_fwd_cpu(args, draw % 3 == 0 ? static_cast<Parallel&>(serial) : pool);
        ASSERT_EQ(std::memcmp(part.data(), whole.out.data() + at * row_size,
                              static_cast<size_t>(args.rows * row_size) * sizeof(float)),
                  0)
            << "rows from " << at;
        at += args.rows;
      }
    }
  });
}

TEST(Attention, SequencesDoNotSeeEachOther) {
  Case a({4, 2, 8, 70, 0}, DType::kF32), b({4, 2, 8, 70, 0}, DType::kF32);
  for (int64_t i = 0; i < 70 * 16; ++i) b.put(b.storage.data(), i, 0.0F);
  const KeyList lists[] = {a.list, b.list};
  std::vector<int32_t> sequence(70);
  for (size_t r = 0; r < 70; ++r) sequence[r] = r % 3 == 0 ? 1 : 0;
  Buffer mixed(a.out.size());
  SerialParallel serial;
  attention_fwd_cpu(a.fwd(), serial);
  attention_fwd_cpu(b.fwd(), serial);
  AttentionFwd args = a.fwd();
  args.sequences = lists;
  args.row_sequence = sequence.data();
  args.out = mixed.data();
  attention_fwd_cpu(args, serial);
  for (int64_t r = 0; r < 70; ++r) {
    const Buffer& expected = r % 3 == 0 ? b.out : a.out;
    EXPECT_EQ(std::memcmp(mixed.data() + r * 32, expected.data() + r * 32, 32 * sizeof(float)), 0) << r;
  }
}

// Ranges that no causal mask would give: cross-attention (all rows see all keys), rows of a router (few rows,
// many keys between them), windows that jump, nothing at all. Fixed by `kind` and drawn per row.
void set_ranges(Case& c, int kind) {
  const auto keys = static_cast<int32_t>(c.shape.keys);
  for (size_t r = 0; r < c.key_begin.size(); ++r) {
    const auto words = philox(9, static_cast<uint64_t>(kind), r);
    const auto a = static_cast<int32_t>(words[0] % static_cast<uint32_t>(keys + 1));
    const auto b = static_cast<int32_t>(words[1] % static_cast<uint32_t>(keys + 1));
    if (kind == 0) {
      c.key_begin[r] = 0;
      c.key_end[r] = keys;
    } else if (kind == 1) {
      c.key_begin[r] = std::min(a, b);
      c.key_end[r] = r % 5 == 3 ? c.key_begin[r] : std::max(a, b);
    } else {  // also backwards: nothing
      c.key_begin[r] = a;
      c.key_end[r] = b;
    }
  }
}

TEST(Attention, CpuEqualsRefForAnyRanges) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (Shape shape : {Shape{4, 2, 8, 70, 0}, Shape{3, 1, 24, 130, 0}, Shape{2, 1, 20, 1100, 0},
                        Shape{8, 4, 8, 300, 0, 2}}) {
      for (int kind : {0, 1, 2}) {
        Case ref(shape, DType::kF32), cpu(shape, DType::kF32);
        set_ranges(ref, kind);
        set_ranges(cpu, kind);
        attention_fwd_ref(ref.fwd());
        attention_fwd_cpu(cpu.fwd(), pool);
        EXPECT_LE(testing::relative_error(cpu.out, ref.out), 3e-6) << shape.keys << " kind " << kind;
        for (int64_t i = 0; i < cpu.lse.size(); ++i) {
          if (std::isinf(ref.lse[i])) {
            EXPECT_EQ(cpu.lse[i], ref.lse[i]);
          } else {
            EXPECT_NEAR(cpu.lse[i], ref.lse[i], 1e-5);
          }
        }
        // Each row alone gives the bits that it has among neighbours with other ranges.
        const int64_t row_size = shape.row_size();
        Buffer alone(row_size);
        for (int64_t r = 0; r < shape.keys; r += 7) {
          AttentionFwd args = cpu.fwd();
          args.q += r * shape.heads * shape.head_dim;
          args.key_begin += r;
          args.key_end += r;
          args.out = alone.data();
          args.lse = nullptr;
          args.rows = 1;
          attention_fwd_cpu(args, serial);
          ASSERT_EQ(std::memcmp(alone.data(), cpu.out.data() + r * row_size,
                                static_cast<size_t>(row_size) * sizeof(float)),
                    0)
              << "row " << r << " kind " << kind;
        }
      }
    }
  });
}

// A window over a ring of blocks: the table names the same few blocks again and again, and those that have
// left the window are null.
TEST(Attention, ARingGivesTheBitsOfAllKeys) {
  const Shape shape = {4, 2, 24, 1100, 100};
  const int64_t entry = shape.kv_heads * shape.head_dim, block = kKeyBlock * entry, ring_blocks = 3;
  SerialParallel serial;
  testing::for_each_level([&] {
    Case whole(shape, DType::kF32);
    attention_fwd_cpu(whole.fwd(), serial);
    std::vector<float> k_ring(static_cast<size_t>(ring_blocks * block), -1.0F), v_ring(k_ring);
    std::vector<const void*> k_table(whole.k_blocks.size()), v_table(k_table.size());
    const KeyList list = {k_table.data(), v_table.data()};
    const int64_t row_size = shape.heads * shape.head_dim;
    Buffer out(row_size);
    for (int64_t r = 0; r < shape.keys; ++r) {
      const int64_t b = r / kKeyBlock, slot = b % ring_blocks;
      const int64_t at = slot * block + (r % kKeyBlock) * entry;
      std::copy_n(whole.k.data() + r * entry, entry, k_ring.data() + at);
      std::copy_n(whole.v.data() + r * entry, entry, v_ring.data() + at);
      k_table[static_cast<size_t>(b)] = k_ring.data() + slot * block;
      v_table[static_cast<size_t>(b)] = v_ring.data() + slot * block;
      if (b >= ring_blocks)
        k_table[static_cast<size_t>(b - ring_blocks)] = v_table[static_cast<size_t>(b - ring_blocks)] =
            nullptr;
      AttentionFwd args = whole.fwd();
      args.q += r * row_size;
      args.key_begin += r;
      args.key_end += r;
      args.sequences = &list;
      args.out = out.data();
      args.lse = nullptr;
      args.rows = 1;
      attention_fwd_cpu(args, serial);
      ASSERT_EQ(std::memcmp(out.data(), whole.out.data() + r * row_size,
                            static_cast<size_t>(row_size) * sizeof(float)),
                0)
          << "row " << r;
    }
  });
}

// Neighbouring rows that see keys far apart: what lies between them may not exist.
TEST(Attention, BlocksThatNobodySeesMayBeNull) {
  SerialParallel serial;
  testing::for_each_level([&] {
    Case all({4, 2, 8, 1100, 0}, DType::kF32);
    for (size_t r = 0; r < all.key_begin.size(); ++r) {
      all.key_begin[r] = r % 2 == 0 ? 5 : 1030;
      all.key_end[r] = r % 2 == 0 ? 60 : 1090;
    }
    Case holes = all;
    holes.list = {holes.k_blocks.data(), holes.v_blocks.data()};
    for (size_t b = 1; b < 16; ++b) holes.k_blocks[b] = holes.v_blocks[b] = nullptr;
    for (int64_t rows : {2, 20}) {
      Buffer out(all.out.size());
      AttentionFwd args = all.fwd();
      args.rows = rows;
      attention_fwd_ref(args);
      AttentionFwd with_holes = holes.fwd();
      with_holes.rows = rows;
      with_holes.out = out.data();
      attention_fwd_cpu(with_holes, serial);
      for (int64_t i = 0; i < rows * 32; ++i) ASSERT_NEAR(out[i], all.out[i], 1e-5) << i;
    }
  });
}

// Keys beside a row's range may hold anything, even in the block that the row reads.
TEST(Attention, UnseenKeysAreNotTouched) {
  SerialParallel serial;
  testing::for_each_level([&] {
    for (int64_t rows : {int64_t{1}, int64_t{6}}) {
      Case clean({4, 2, 8, 130, 0}, DType::kF32), dirty({4, 2, 8, 130, 0}, DType::kF32);
      for (int64_t j = 0; j < 130; ++j) {
        if (j >= 70 && j < 90) continue;
        for (int64_t d = 0; d < 16; ++d) {
          for (const auto& table : {dirty.k_blocks, dirty.v_blocks}) {
            auto* block = static_cast<uint8_t*>(const_cast<void*>(table[static_cast<size_t>(j / kKeyBlock)]));
            dirty.put(block, j % kKeyBlock * 16 + d, std::numeric_limits<float>::quiet_NaN());
          }
        }
      }
      for (Case* c : {&clean, &dirty}) {
        for (int32_t r = 0; r < rows; ++r) {
          c->key_begin[static_cast<size_t>(r)] = 70 + r;
          c->key_end[static_cast<size_t>(r)] = 90 - 2 * r;
        }
        AttentionFwd args = c->fwd();
        args.rows = rows;
        attention_fwd_cpu(args, serial);
      }
      EXPECT_EQ(
          std::memcmp(clean.out.data(), dirty.out.data(), static_cast<size_t>(rows * 32) * sizeof(float)), 0);
      EXPECT_FALSE(std::isnan(clean.out[rows * 32 - 1]));
    }
  });
}

struct BackwardCase {
  explicit BackwardCase(Shape s, float share = 0)
      : fwd(s, DType::kF32, share),
        grad_out(Buffer::normal(fwd.out.size(), 5)),
        grad_q(fwd.q.size()),
        grad_k(fwd.k.size()),
        grad_v(fwd.v.size()),
        rows{0, s.keys},
        workspace(static_cast<size_t>(attention_bwd_workspace(s.extents(), 4)), kNaNByte) {
    attention_fwd_ref(fwd.fwd());
  }
  AttentionBwd bwd() {
    return {.q = fwd.q.data(),
            .k = fwd.k.data(),
            .v = fwd.v.data(),
            .out = fwd.out.data(),
            .lse = fwd.lse.data(),
            .grad_out = grad_out.data(),
            .key_begin = fwd.key_begin.data(),
            .key_end = fwd.key_end.data(),
            .query_rows = &rows,
            .key_rows = &rows,
            .num_sequences = 1,
            .grad_q = grad_q.data(),
            .grad_k = grad_k.data(),
            .grad_v = grad_v.data(),
            .heads = fwd.shape.heads,
            .kv_heads = fwd.shape.kv_heads,
            .head_dim = fwd.shape.head_dim,
            .stripes = fwd.shape.stripes,
            .scale = 0.4F,
            .dropout = fwd.dropout,
            .workspace = workspace.data()};
  }
  Case fwd;
  Buffer grad_out, grad_q, grad_k, grad_v;
  RowRange rows;
  std::vector<uint8_t> workspace;
};

void expect_same_gradients(const BackwardCase& a, const BackwardCase& b) {
  EXPECT_TRUE(testing::same_bits(a.grad_q, b.grad_q) && testing::same_bits(a.grad_k, b.grad_k) &&
              testing::same_bits(a.grad_v, b.grad_v));
  EXPECT_TRUE(a.grad_q.intact() && a.grad_k.intact() && a.grad_v.intact());
}

// A stripe is grouped attention by itself: every `stripes`th head of queries and keys, the values side by
// side.
TEST(Attention, RefOfStripesIsRefOfEachStripe) {
  Case both({8, 4, 6, 70, 9, 2}, DType::kF32);
  attention_fwd_ref(both.fwd());
  for (int64_t stripe = 0; stripe < 2; ++stripe) {
    for (int64_t half = 0; half < 2; ++half) {  // of the values
      Case one({4, 2, 6, 70, 9}, DType::kF32);
      for (int64_t r = 0; r < 70; ++r) {
        for (int64_t d = 0; d < 6; ++d) {
          for (int64_t h = 0; h < 4; ++h)
            one.q[(r * 4 + h) * 6 + d] = both.q[(r * 8 + 2 * h + stripe) * 6 + d];
          for (int64_t g = 0; g < 2; ++g) {
            one.put_key(r, g * 6 + d, both.k[(r * 4 + 2 * g + stripe) * 6 + d]);
            one.put_value(r, g * 6 + d, both.v[(r * 4 + 2 * g + half) * 6 + d]);
          }
        }
      }
      attention_fwd_ref(one.fwd());
      for (int64_t r = 0; r < 70; ++r) {
        for (int64_t h = 0; h < 4; ++h) {
          const float* expected = one.out.data() + (r * 4 + h) * 6;
          const float* got = both.out.data() + (r * 8 + 2 * h + stripe) * 12 + half * 6;
          ASSERT_EQ(std::memcmp(got, expected, 6 * sizeof(float)), 0) << r << " " << h << " " << stripe;
        }
      }
    }
  }
}

class AttentionGradient : public ::testing::TestWithParam<Shape> {};

TEST_P(AttentionGradient, RefBackwardIsTheDerivativeOfForward) {
  for (float share : {0.0F, 0.3F}) {
    BackwardCase c(GetParam(), share);
    attention_bwd_ref(c.bwd());
    const auto loss = [&] {
      for (int64_t i = 0; i < c.fwd.k.size(); ++i) {
        c.fwd.put(static_cast<uint8_t*>(const_cast<void*>(c.fwd.k_blocks[0])), i, c.fwd.k[i]);
        c.fwd.put(static_cast<uint8_t*>(const_cast<void*>(c.fwd.v_blocks[0])), i, c.fwd.v[i]);
      }
      attention_fwd_ref(c.fwd.fwd());
      return testing::dot(c.fwd.out, c.grad_out);
    };
    testing::expect_gradient(c.fwd.q, c.grad_q, loss);
    testing::expect_gradient(c.fwd.k, c.grad_k, loss);
    testing::expect_gradient(c.fwd.v, c.grad_v, loss);
  }
}

INSTANTIATE_TEST_SUITE_P(Stripes, AttentionGradient,
                         ::testing::Values(Shape{4, 2, 6, 7, 3}, Shape{4, 2, 5, 7, 3, 2}));

// Elements of four products are rounded to eight bits where an instruction takes pairs of them, so a gradient
// is off by that much, not by more; elsewhere nothing is.
TEST(Attention, BackwardInBfloat16IsNearRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      const float share = shape.keys % 2 == 0 ? 0.3F : 0.0F;
      BackwardCase ref(shape, share), cpu(shape, share), alone(shape, share);
      attention_bwd_ref(ref.bwd());
      for (auto [c, parallel] : {std::pair<BackwardCase*, Parallel*>{&cpu, &pool}, {&alone, &serial}}) {
        AttentionBwd args = c->bwd();
        args.bf16 = true;
        attention_bwd_cpu(args, *parallel);
      }
      if (shape.keys > 1 && shape.window != 1) {
        EXPECT_LE(testing::relative_error(cpu.grad_q, ref.grad_q), 2e-2)
            << shape.head_dim << " " << shape.keys;
        EXPECT_LE(testing::relative_error(cpu.grad_k, ref.grad_k), 2e-2)
            << shape.head_dim << " " << shape.keys;
      }
      EXPECT_LE(testing::relative_error(cpu.grad_v, ref.grad_v), 2e-2) << shape.head_dim << " " << shape.keys;
      if (isa_level() == IsaLevel::kAvx512Bf16) {
        EXPECT_GT(testing::relative_error(cpu.grad_v, ref.grad_v), 1e-5) << "nothing was rounded";
      } else {
        BackwardCase floats(shape, share);
        attention_bwd_cpu(floats.bwd(), serial);
        expect_same_gradients(cpu, floats);
      }
      expect_same_gradients(cpu, alone);
    }
  });
}

TEST(Attention, CpuBackwardEqualsRefForAnyThreads) {
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (Shape shape : kShapes) {
      const float share = shape.keys % 2 == 0 ? 0.3F : 0.0F;
      BackwardCase ref(shape, share), cpu(shape, share), alone(shape, share);
      attention_bwd_ref(ref.bwd());
      attention_bwd_cpu(cpu.bwd(), pool);
      attention_bwd_cpu(alone.bwd(), serial);
      if (shape.keys > 1 &&
          shape.window != 1) {  // else the softmax is constant and its gradient cancels to noise
        EXPECT_LE(testing::relative_error(cpu.grad_q, ref.grad_q), 2e-5)
            << shape.head_dim << " " << shape.keys;
        EXPECT_LE(testing::relative_error(cpu.grad_k, ref.grad_k), 2e-5);
      }
      EXPECT_LE(testing::relative_error(cpu.grad_v, ref.grad_v), 1e-5);
      expect_same_gradients(cpu, alone);
    }
  });
}

// Their softmax is 1 whatever the logit: its gradient is nothing, not what rounding leaves.
TEST(Attention, QueriesOfOneKeyHaveNoSlope) {
  SerialParallel serial;
  testing::for_each_level([&] {
    for (const auto& [bf16, share] : {std::pair(false, 0.0F), {false, 0.3F}, {true, 0.0F}}) {
      BackwardCase c({4, 2, 16, 40, 1}, share);
      AttentionBwd args = c.bwd();
      args.bf16 = bf16;
      attention_bwd_cpu(args, serial);
      for (const Buffer* gradient : {&c.grad_q, &c.grad_k}) {
        for (int64_t i = 0; i < gradient->size(); ++i) ASSERT_EQ((*gradient)[i], 0) << i;
      }
      EXPECT_GT(testing::dot(c.grad_v, c.grad_v), 0);
    }
  });
}

// Two sequences with ranges of their own in one call, a gap of key rows that belongs to none, rows without
// keys; compared with ref, with one thread and with one sequence alone.
TEST(Attention, BackwardOfSequencesWithAnyRanges) {
  const int64_t heads = 4, kv_heads = 2, rows = 61, key_rows = 175;
  const RowRange queries[] = {{0, 23}, {23, 61}}, keys[] = {{0, 70}, {75, 175}};
  ThreadPool pool(3);
  SerialParallel serial;
  testing::for_each_level([&] {
    for (int64_t dim : {6, 8, 24, 64}) {
      const int64_t entry = kv_heads * dim;
      const Buffer q = Buffer::normal(rows * heads * dim, 1, 0.5F),
                   k = Buffer::normal(key_rows * entry, 2, 0.5F), v = Buffer::normal(key_rows * entry, 3),
                   grad_out = Buffer::normal(q.size(), 4);
      std::vector<int32_t> begin, end, sequence;
      for (int64_t r = 0; r < rows; ++r) {
        const size_t s = r < queries[0].end ? 0 : 1;
        const auto words = philox(11, 0, static_cast<uint64_t>(r));
        const auto size = static_cast<uint32_t>(keys[s].size());
        begin.push_back(static_cast<int32_t>(words[0] % size));
        end.push_back(static_cast<int32_t>(words[1] % (size + 1)));  // often before begin: no keys
        sequence.push_back(static_cast<int32_t>(s));
      }
      const void* k_table[2][2];
      const void* v_table[2][2];
      for (int s : {0, 1}) {
        for (int b : {0, 1}) {
          k_table[s][b] = k.data() + (keys[s].begin + b * kKeyBlock) * entry;
          v_table[s][b] = v.data() + (keys[s].begin + b * kKeyBlock) * entry;
        }
      }
      const KeyList lists[] = {{k_table[0], v_table[0]}, {k_table[1], v_table[1]}};
      Buffer out(q.size()), lse(rows * heads);
      attention_fwd_ref({.q = q.data(),
                         .row_sequence = sequence.data(),
                         .key_begin = begin.data(),
                         .key_end = end.data(),
                         .sequences = lists,
                         .out = out.data(),
                         .lse = lse.data(),
                         .rows = rows,
                         .heads = heads,
                         .kv_heads = kv_heads,
                         .head_dim = dim,
                         .scale = 0.4F});
      std::vector<uint8_t> workspace(
          static_cast<size_t>(attention_bwd_workspace({rows, heads, dim, 1, key_rows}, 3)), kNaNByte);
      struct Grads {
        Buffer q, k, v;
      };
      const auto args = [&](Grads& grads) {
        return AttentionBwd{.q = q.data(),
                            .k = k.data(),
                            .v = v.data(),
                            .out = out.data(),
                            .lse = lse.data(),
                            .grad_out = grad_out.data(),
                            .key_begin = begin.data(),
                            .key_end = end.data(),
                            .query_rows = queries,
                            .key_rows = keys,
                            .num_sequences = 2,
                            .grad_q = grads.q.data(),
                            .grad_k = grads.k.data(),
                            .grad_v = grads.v.data(),
                            .heads = heads,
                            .kv_heads = kv_heads,
                            .head_dim = dim,
                            .scale = 0.4F,
                            .workspace = workspace.data()};
      };
      // The gap keeps what it held.
      const auto fresh = [&] {
        return Grads{Buffer(q.size()), Buffer(k.size(), 0.5F), Buffer(v.size(), 0.5F)};
      };
      Grads ref = fresh(), many = fresh(), one = fresh(), second = fresh();
      attention_bwd_ref(args(ref));
      attention_bwd_cpu(args(many), pool);
      attention_bwd_cpu(args(one), serial);
      EXPECT_LE(testing::relative_error(many.q, ref.q), 1e-5) << dim;
      EXPECT_LE(testing::relative_error(many.k, ref.k), 1e-5) << dim;
      EXPECT_LE(testing::relative_error(many.v, ref.v), 1e-5) << dim;
      EXPECT_TRUE(many.q.intact() && many.k.intact() && many.v.intact());
      EXPECT_TRUE(testing::same_bits(many.q, one.q) && testing::same_bits(many.k, one.k) &&
                  testing::same_bits(many.v, one.v));
      EXPECT_EQ(many.k[72 * entry], 0.5F);
      AttentionBwd alone = args(second);
      alone.query_rows = queries + 1;
      alone.key_rows = keys + 1;
      alone.num_sequences = 1;
      attention_bwd_cpu(alone, serial);
      EXPECT_EQ(std::memcmp(second.k.data() + 75 * entry, many.k.data() + 75 * entry,
                            static_cast<size_t>(100 * entry) * sizeof(float)),
                0);
    }
  });
}

}  // namespace
}  // namespace fathom::kernels
