// Convolution, pooling, linear layers, matrix products.
#include "op_cases.h"

#include "retort/kernels/ref/conv2d.h"
#include "retort/kernels/ref/linear.h"
#include "retort/kernels/ref/max_pool2d.h"

#include <algorithm>
#include <numeric>

namespace retort::op_cases {
namespace {

double dot(std::int64_t n, const double* a, const double* b) { return std::inner_product(a, a + n, b, 0.0); }

std::string text(const Conv2dShape& z) {
  return fmt::format("({},{},{},{}) * ({},{},{},{}) stride ({},{}) pad ({},{})", z.n, z.c, z.h, z.w, z.k, z.c, z.r, z.s,
                     z.stride_h, z.stride_w, z.pad_h, z.pad_w);
}

OpCase conv_forward(const Conv2dShape& z, bool bias) {
  const std::int64_t out = z.n * z.k * z.oh() * z.ow();
  OpCase c{.op = "", .label = "forward " + text(z) + (bias ? "" : ", no bias"), .tolerance = 1e-4};
  c.work = static_cast<double>(out * z.c * z.r * z.s);
  c.input("x", z.n * z.c * z.h * z.w).input("w", z.k * z.c * z.r * z.s).input("b", bias ? z.k : 0).output("y", out);
  return c.bind(&Conv2dKernels::forward, ref::conv2d_forward<double>,
                [z](auto f, Stream& s, const auto& a) { f(s, z, a["x"], a["w"], a["b"], a["y"]); });
}

OpCase conv_backward(const Conv2dShape& z, bool dx = true, bool dw = true, bool db = true, Fill fill = Fill::normal) {
  const std::int64_t in = z.n * z.c * z.h * z.w, weights = z.k * z.c * z.r * z.s, out = z.n * z.k * z.oh() * z.ow();
  OpCase c{.op = "",
           .label = fmt::format("backward {}{}{}{}", text(z), dx ? "" : ", no dx", dw ? "" : ", no dw", db ? "" : ", no db"),
           .tolerance = 1e-4};
  c.work = 2.0 * static_cast<double>(out * z.c * z.r * z.s);
  if (fill == Fill::mostly_zero) c.label += ", most of dy zero";
  c.input("x", in).input("w", weights).input("dy", out, fill).input("b", z.k);
  c.output("dx", dx ? in : 0).accumulated("dw", dw ? weights : 0).accumulated("db", db ? z.k : 0);
  c.gradients = {{"dx", "x"}, {"dw", "w"}, {"db", "b"}};
  c.objective = [z, out](Stream& s, const Arguments<double>& a) {
    std::vector<double> y(static_cast<std::size_t>(out));
    ref::conv2d_forward<double>(s, z, a["x"], a["w"], a["b"], y.data());
    return dot(out, y.data(), a["dy"]);
  };
  return c.bind(&Conv2dKernels::backward, ref::conv2d_backward<double>,
                [z](auto f, Stream& s, const auto& a) { f(s, z, a["x"], a["w"], a["dy"], a["dx"], a["dw"], a["db"]); });
}

/// Rows of dy between the first and every second one are zero, as under a pooling that leaves them out.
OpCase conv_backward_zero_rows(const Conv2dShape& z) {
  OpCase c = conv_backward(z);
  c.label += ", every second row of dy zero";
  const std::int64_t out = z.n * z.k * z.oh() * z.ow();
  c.buffers.erase(std::ranges::find(c.buffers, "dy", &Buffer::name));
  c.input("all of dy", out).derived("dy", out);
  c.derive = [z, out](Stream&, const Arguments<double>& a) {
    for (std::int64_t i = 0; i < out; ++i) a["dy"][i] = i / z.ow() % z.oh() % 2 == 0 ? a["all of dy"][i] : 0.0;
  };
  return c;
}

void add_conv(std::vector<OpCase>& table) {
  const Conv2dShape shapes[] = {
      {.n = 1, .c = 1, .h = 1, .w = 1, .k = 1, .r = 1, .s = 1},
      {.n = 2, .c = 3, .h = 1, .w = 13, .k = 5, .r = 1, .s = 9},
      {.n = 3, .c = 1, .h = 3, .w = 31, .k = 33, .r = 1, .s = 9},
      {.n = 17, .c = 2, .h = 3, .w = 11, .k = 7, .r = 1, .s = 9},
      {.n = 2, .c = 5, .h = 7, .w = 11, .k = 3, .r = 3, .s = 5},
      {.n = 3, .c = 2, .h = 9, .w = 8, .k = 4, .r = 3, .s = 3, .stride_h = 2, .stride_w = 3, .pad_h = 1, .pad_w = 2},
      {.n = 5, .c = 3, .h = 4, .w = 5, .k = 2, .r = 2, .s = 4, .stride_h = 3, .stride_w = 2, .pad_h = 2, .pad_w = 3},
      {.n = 1, .c = 1, .h = 1, .w = 3, .k = 2, .r = 1, .s = 9, .pad_w = 5},
      {.n = 19, .c = 1, .h = 1, .w = 37, .k = 1, .r = 1, .s = 4, .stride_w = 4},
      // MTL-net: released geometry, one row, three channels; and a last short batch.
      {.n = 64, .c = 1, .h = 3, .w = 100, .k = 32, .r = 1, .s = 9},
      {.n = 64, .c = 32, .h = 2, .w = 46, .k = 64, .r = 1, .s = 9},
      {.n = 64, .c = 3, .h = 1, .w = 100, .k = 32, .r = 1, .s = 9},
      {.n = 64, .c = 32, .h = 1, .w = 46, .k = 64, .r = 1, .s = 9},
      {.n = 37, .c = 3, .h = 1, .w = 100, .k = 32, .r = 1, .s = 9},
      {.n = 37, .c = 32, .h = 1, .w = 46, .k = 64, .r = 1, .s = 9},
      {.n = 1, .c = 32, .h = 1, .w = 46, .k = 64, .r = 1, .s = 9},
      // Nine taps over many channels, which fill no vectors, and outputs that fill no span of nine: minimal filtering.
      {.n = 3, .c = 19, .h = 2, .w = 20, .k = 37, .r = 1, .s = 9},
      {.n = 11, .c = 33, .h = 3, .w = 31, .k = 16, .r = 1, .s = 9},
      {.n = 5, .c = 17, .h = 1, .w = 13, .k = 23, .r = 1, .s = 3},
      {.n = 11, .c = 33, .h = 3, .w = 15, .k = 16, .r = 1, .s = 6},
  };
  for (const auto& z : shapes) {
    table.push_back(conv_forward(z, true));
    table.push_back(conv_backward(z));
    table.push_back(conv_backward(z, true, true, true, Fill::mostly_zero));
  }
  table.push_back(conv_forward(shapes[4], false));
  table.push_back(conv_backward(shapes[4], false));
  table.push_back(conv_backward(shapes[5], true, false, false));
  table.push_back(conv_backward(shapes[2], false, true, false));
  table.push_back(conv_backward(shapes[3], false, false, true));
  const Conv2dShape filtered{.n = 3, .c = 19, .h = 1, .w = 22, .k = 17, .r = 1, .s = 9};
  table.push_back(conv_forward(filtered, false));
  table.push_back(conv_backward(filtered, false));
  table.push_back(conv_backward(filtered, true, false, false));
  table.push_back(conv_backward(filtered, false, true, false));
  table.push_back(conv_backward(filtered, false, false, true));
  table.push_back(conv_backward_zero_rows({.n = 17, .c = 19, .h = 3, .w = 22, .k = 17, .r = 1, .s = 9}));
  table.push_back(conv_backward_zero_rows({.n = 2, .c = 3, .h = 2, .w = 22, .k = 17, .r = 1, .s = 9}));
}

std::string text(const MaxPool2dShape& z) {
  return fmt::format("({},{},{},{}) kernel ({},{}) stride ({},{})", z.n, z.c, z.h, z.w, z.kernel_h, z.kernel_w, z.stride_h,
                     z.stride_w);
}

OpCase pool_forward(const MaxPool2dShape& z, bool argmax, Fill fill) {
  const std::int64_t out = z.n * z.c * z.oh() * z.ow();
  OpCase c{.op = "",
           .label = fmt::format("forward {}{}{}", text(z), argmax ? "" : ", no argmax",
                                fill == Fill::with_nan     ? ", NaN"
                                : fill == Fill::few_values ? ", ties"
                                                           : ""),
           .tolerance = 0};
  c.work = static_cast<double>(out * z.kernel_h * z.kernel_w);
  c.input("x", z.n * z.c * z.h * z.w, fill).output("y", out).output("argmax", argmax ? out : 0).as_integer();
  return c.bind(&MaxPool2dKernels::forward, ref::max_pool2d_forward<double>,
                [z](auto f, Stream& s, const auto& a) { f(s, z, a["x"], a["y"], a.ints("argmax")); });
}

OpCase pool_backward(const MaxPool2dShape& z) {
  const std::int64_t in = z.n * z.c * z.h * z.w, out = z.n * z.c * z.oh() * z.ow();
  OpCase c{.op = "", .label = "backward " + text(z), .tolerance = 1e-6};
  c.work = static_cast<double>(in);
  c.input("x", in).input("dy", out).derived("argmax", out).as_integer().output("dx", in);
  const auto forward = [z, out](Stream& s, const Arguments<double>& a, std::int32_t* argmax) {
    std::vector<double> y(static_cast<std::size_t>(out));
    ref::max_pool2d_forward<double>(s, z, a["x"], y.data(), argmax);
    return dot(out, y.data(), a["dy"]);
  };
  c.derive = [forward](Stream& s, const Arguments<double>& a) { forward(s, a, a.ints("argmax")); };
  c.objective = [forward](Stream& s, const Arguments<double>& a) { return forward(s, a, nullptr); };
  c.gradients = {{"dx", "x"}};
  return c.bind(&MaxPool2dKernels::backward, ref::max_pool2d_backward<double>,
                [z](auto f, Stream& s, const auto& a) { f(s, z, a.ints("argmax"), a["dy"], a["dx"]); });
}

void add_pool(std::vector<OpCase>& table) {
  const MaxPool2dShape shapes[] = {
      {1, 1, 1, 1, 1, 1, 1, 1},    {2, 3, 5, 7, 2, 2, 2, 2},    {2, 1, 7, 11, 3, 3, 2, 2},  // overlapping
      {3, 2, 6, 31, 2, 5, 1, 1},   {1, 2, 9, 33, 2, 3, 4, 5},   {5, 7, 3, 13, 1, 2, 2, 2},   {64, 32, 3, 92, 1, 2, 2, 2},
      {64, 64, 2, 38, 1, 2, 2, 2}, {64, 32, 1, 92, 1, 2, 2, 2}, {37, 64, 1, 38, 1, 2, 2, 2},
  };
  for (const auto& z : shapes) {
    table.push_back(pool_forward(z, true, Fill::normal));
    table.push_back(pool_backward(z));
  }
  for (const auto& z : {shapes[1], shapes[2], shapes[3], shapes[4], shapes[5]}) {
    table.push_back(pool_forward(z, false, Fill::normal));
    table.push_back(pool_forward(z, true, Fill::few_values));
    table.push_back(pool_forward(z, true, Fill::with_nan));
  }
}

std::string text(const LinearShape& z) {
  return fmt::format("({},{}) -> {}{}", z.rows, z.in, z.out, z.activation == Activation::relu ? ", relu" : "");
}

OpCase linear_forward(const LinearShape& z, bool bias, Fill fill = Fill::normal) {
  OpCase c{.op = "", .label = "forward " + text(z) + (bias ? "" : ", no bias"), .tolerance = 1e-4};
  if (fill == Fill::mostly_zero) c.label += ", most of x zero";
  c.work = static_cast<double>(z.rows * z.in * z.out);
  c.input("x", z.rows * z.in, fill).input("w", z.out * z.in).input("b", bias ? z.out : 0).output("y", z.rows * z.out);
  return c.bind(&LinearKernels::forward, ref::linear_forward<double>,
                [z](auto f, Stream& s, const auto& a) { f(s, z, a["x"], a["w"], a["b"], a["y"]); });
}

/// beta 0: dw is overwritten.
OpCase linear_backward(const LinearShape& z, float beta = 1, bool dx = true, bool dw = true, bool db = true,
                       Fill fill = Fill::normal) {
  const std::int64_t out = z.rows * z.out;
  const bool relu = z.activation == Activation::relu;
  OpCase c{.op = "",
           .label = fmt::format("backward {}, beta {}{}{}{}", text(z), beta, dx ? "" : ", no dx", dw ? "" : ", no dw",
                                db ? "" : ", no db"),
           .tolerance = 1e-4};
  c.work = 2.0 * static_cast<double>(z.rows * z.in * z.out);
  if (fill == Fill::mostly_zero) c.label += ", most of dy zero";
  c.input("x", z.rows * z.in).input("w", z.out * z.in).input("b", z.out).input("dy", out, fill).derived("y", relu ? out : 0);
  c.output("dx", dx ? z.rows * z.in : 0).accumulated("db", db ? z.out : 0);
  c.add("dw", dw ? z.out * z.in : 0, beta == 0 ? Role::overwritten : Role::accumulated);
  if (relu)
    c.derive = [z](Stream& s, const Arguments<double>& a) { ref::linear_forward<double>(s, z, a["x"], a["w"], a["b"], a["y"]); };
  c.objective = [z, out](Stream& s, const Arguments<double>& a) {
    std::vector<double> y(static_cast<std::size_t>(out));
    ref::linear_forward<double>(s, z, a["x"], a["w"], a["b"], y.data());
    return dot(out, y.data(), a["dy"]);
  };
  c.gradients = {{"dx", "x"}, {"dw", "w"}, {"db", "b"}};
  return c.bind(&LinearKernels::backward, ref::linear_backward<double>, [z, beta](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["w"], a["y"], a["dy"], a["dx"], beta, a["dw"], a["db"]);
  });
}

void add_linear(std::vector<OpCase>& table) {
  const LinearShape shapes[] = {{1, 1, 1},        {1, 7, 33},      {31, 33, 5},   {5, 131, 257},   {13, 17, 19},
                                {64, 1216, 1024}, {64, 1024, 512}, {64, 512, 18}, {64, 512, 12},   {64, 512, 3},
                                {37, 1216, 1024}, {37, 1024, 512}, {37, 512, 13}, {1, 1216, 1024}, {1, 512, 2}};
  for (LinearShape z : shapes)
    for (const Activation activation : {Activation::none, Activation::relu}) {
      z.activation = activation;
      if (activation == Activation::relu && z.out < 19 && z.in == 512) continue;  // heads have none
      table.push_back(linear_forward(z, true));
      table.push_back(linear_backward(z, z.activation == Activation::relu ? 0.0f : 1.0f));
    }
  // Most of x or dy zero; rows, inputs and outputs that fill no block of 64, or several.
  for (const LinearShape z : {LinearShape{64, 1024, 512}, {33, 65, 129}, {70, 203, 131}, {300, 130, 150}, {129, 64, 67}})
    for (const Activation activation : {Activation::none, Activation::relu}) {
      const LinearShape shape{z.rows, z.in, z.out, activation};
      table.push_back(linear_forward(shape, activation == Activation::relu, Fill::mostly_zero));
      table.push_back(linear_backward(shape, static_cast<float>(z.rows % 2), true, true, true, Fill::mostly_zero));
    }
  // Heads: few outputs, without a ReLU; rows of x that fill no panel, or no vector.
  table.push_back(linear_forward({67, 96, 16}, false));
  table.push_back(linear_backward({67, 96, 16}, 0));
  table.push_back(linear_backward({300, 160, 7}, 1, true, true, false));
  table.push_back(linear_backward({9, 80, 13}, 1, true, false, true));
  table.push_back(linear_backward({33, 80, 1}, 0, false, true, true));
  table.push_back(linear_backward({33, 100, 5}, 1));
  // Results of many tiles, which take no slices.
  table.push_back(linear_backward({700, 833, 40, Activation::relu}, 0));
  table.push_back(linear_backward({40, 833, 700, Activation::relu}, 1));
  table.push_back(linear_forward({700, 40, 833, Activation::relu}, true));
  const LinearShape small{7, 33, 31, Activation::relu};
  table.push_back(linear_forward(small, false));
  table.push_back(linear_backward(small, 1, false));
  table.push_back(linear_backward(small, 1, true, false));
  table.push_back(linear_backward(small, 0, false, true, false));
  table.push_back(linear_backward({7, 33, 31}, 1, false, false, true));
}

OpCase matmul(const MatmulShape& z, float beta) {
  OpCase c{.op = "",
           .label = fmt::format("({},{}) x ({},{}){}{} beta {}", z.m, z.k, z.k, z.n, z.transpose_a ? " a^T" : "",
                                z.transpose_b ? " b^T" : "", beta),
           .tolerance = 1e-4};
  c.work = static_cast<double>(z.m * z.n * z.k);
  c.input("a", z.m * z.k).input("b", z.k * z.n).add("c", z.m * z.n, beta == 0 ? Role::overwritten : Role::accumulated);
  return c.bind(&MatmulKernels::forward, ref::matmul_forward<double>,
                [z, beta](auto f, Stream& s, const auto& a) { f(s, z, a["a"], a["b"], beta, a["c"]); });
}

}  // namespace

void add_layer_cases(std::vector<OpCase>& table) {
  add_conv(table);
  add_pool(table);
  add_linear(table);
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      table.push_back(matmul({1, 1, 1, ta, tb}, 0));
      table.push_back(matmul({700, 833, 40, ta, tb}, 0));
      table.push_back(matmul({65, 129, 1027, ta, tb}, 0.5f));
      table.push_back(matmul({31, 33, 17, ta, tb}, 0));
      table.push_back(matmul({33, 131, 64, ta, tb}, 1));
      table.push_back(matmul({64, 64, 512, ta, tb}, 0.5f));
      table.push_back(matmul({259, 7, 13, ta, tb}, 0));
      table.push_back(matmul({1, 67, 29, ta, tb}, 0));
      table.push_back(matmul({67, 1, 29, ta, tb}, -1));
    }
}

}  // namespace retort::op_cases
