// Convolution, normalisation, ReLU and pooling in one pass.
#include "op_cases.h"

#include "retort/kernels/ref/conv_block.h"

namespace retort::op_cases {
namespace {

OpCase conv_block(const ConvBlockShape& z, bool bias, bool norm, Fill fill = Fill::normal) {
  const Conv2dShape& v = z.conv;
  OpCase c{.op = "",
           .label = fmt::format("({},{},{},{}) * ({},{},{},{}) stride ({},{}) pad ({},{}) pool ({},{}) every ({},{}){}{}{}", v.n,
                                v.c, v.h, v.w, v.k, v.c, v.r, v.s, v.stride_h, v.stride_w, v.pad_h, v.pad_w, z.pool_h, z.pool_w,
                                z.pool_stride_h, z.pool_stride_w, bias ? "" : ", no bias", norm ? ", norm" : "",
                                fill == Fill::with_nan ? ", NaN" : ""),
           .tolerance = 1e-4};
  c.work = static_cast<double>(v.n * v.k * z.oh() * v.ow() * z.pool_h * v.c * v.r * v.s);
  c.input("x", v.n * v.c * v.h * v.w, fill).input("w", v.k * v.c * v.r * v.s).input("b", bias ? v.k : 0);
  const std::int64_t n = norm ? v.k : 0;
  c.input("gamma", n).input("beta", n).input("mean", n).input("var", n, Fill::positive).output("y", v.n * v.k * z.oh() * z.ow());
  return c.bind(&ConvBlockKernels::forward, ref::conv_block_forward<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["w"], a["b"], {a["gamma"], a["beta"], a["mean"], a["var"]}, a["y"]);
  });
}

}  // namespace

void add_conv_block_cases(std::vector<OpCase>& table) {
  const ConvBlockShape odd[] = {
      {{.n = 1, .c = 1, .h = 1, .w = 1, .k = 1, .r = 1, .s = 1}, 1, 1, 1, 1},
      {{.n = 1, .c = 1, .h = 1, .w = 2, .k = 1, .r = 1, .s = 1}, 1, 2, 2, 2},
      {{.n = 2, .c = 3, .h = 4, .w = 13, .k = 5, .r = 1, .s = 3}, 1, 2, 3, 2},
      {{.n = 5, .c = 2, .h = 3, .w = 32, .k = 33, .r = 1, .s = 9}, 1, 2, 2, 2},  // an odd row: its last position is in no window
      {{.n = 3, .c = 7, .h = 1, .w = 31, .k = 131, .r = 1, .s = 5}, 1, 2, 1, 2},
      {{.n = 17, .c = 1, .h = 2, .w = 47, .k = 49, .r = 1, .s = 9}, 1, 2, 1, 2},
      {{.n = 2, .c = 2, .h = 9, .w = 11, .k = 3, .r = 3, .s = 5}, 2, 3, 1, 2},  // overlapping windows
      {{.n = 3, .c = 2, .h = 9, .w = 8, .k = 4, .r = 3, .s = 3, .stride_h = 2, .stride_w = 3, .pad_h = 1, .pad_w = 2},
       2,
       2,
       2,
       2},
      {{.n = 2, .c = 1, .h = 1, .w = 13, .k = 19, .r = 1, .s = 9, .pad_w = 4}, 1, 2, 2, 2},
      {{.n = 3, .c = 19, .h = 3, .w = 21, .k = 37, .r = 1, .s = 9}, 1, 2, 2, 2},  // minimal filtering
      {{.n = 2, .c = 16, .h = 1, .w = 18, .k = 16, .r = 1, .s = 3}, 1, 2, 1, 2},
  };
  for (const ConvBlockShape& z : odd) {
    table.push_back(conv_block(z, true, true));
    table.push_back(conv_block(z, true, false));
  }
  table.push_back(conv_block(odd[3], false, true));
  table.push_back(conv_block(odd[3], false, false));
  table.push_back(conv_block(odd[7], false, false));
  table.push_back(conv_block(odd[9], false, false));
  for (const auto& z : {odd[2], odd[5], odd[6]}) table.push_back(conv_block(z, true, true, Fill::with_nan));
  // MTL-net: three axes as channels, as rows; AnpoNet's front; one window, and the short last batch.
  for (const std::int64_t n : {64, 37, 1}) {
    table.push_back(conv_block({{.n = n, .c = 3, .h = 1, .w = 100, .k = 32, .r = 1, .s = 9}, 1, 2, 2, 2}, true, true));
    table.push_back(conv_block({{.n = n, .c = 32, .h = 1, .w = 46, .k = 64, .r = 1, .s = 9}, 1, 2, 2, 2}, true, true));
    table.push_back(conv_block({{.n = n, .c = 1, .h = 3, .w = 100, .k = 32, .r = 1, .s = 9}, 1, 2, 2, 2}, true, n != 64));
    table.push_back(conv_block({{.n = n, .c = 32, .h = 2, .w = 46, .k = 64, .r = 1, .s = 9}, 1, 2, 2, 2}, true, n != 64));
    table.push_back(conv_block({{.n = n, .c = 3, .h = 1, .w = 100, .k = 64, .r = 1, .s = 9}, 1, 2, 1, 2}, true, true));
  }
}

}  // namespace retort::op_cases
