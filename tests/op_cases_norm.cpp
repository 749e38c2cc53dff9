// Batch normalisation and row normalisation.
#include "op_cases.h"

#include "retort/kernels/ref/batch_norm.h"
#include "retort/kernels/ref/normalize.h"

#include <numeric>

namespace retort::op_cases {
namespace {

double dot(std::int64_t n, const double* a, const double* b) { return std::inner_product(a, a + n, b, 0.0); }

std::string text(const BatchNormShape& z) {
  return fmt::format("({},{},{}){}", z.n, z.c, z.spatial, z.activation == Activation::relu ? ", relu" : "");
}

OpCase forward_train(const BatchNormShape& z, bool tracked, Fill fill) {
  const std::int64_t n = z.n * z.c * z.spatial;
  OpCase c{.op = "",
           .label = fmt::format("forward_train {}{}{}", text(z), tracked ? "" : ", untracked",
                                fill == Fill::offset ? ", mean 10" : "")};
  c.work = static_cast<double>(n);
  c.input("x", n, fill).input("gamma", z.c).input("beta", z.c);
  c.accumulated("running_mean", tracked ? z.c : 0).accumulated("running_var", tracked ? z.c : 0, Fill::positive);
  c.output("mean", z.c).output("invstd", z.c).output("y", n);
  return c.bind(&BatchNormKernels::forward_train, ref::batch_norm_forward_train<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["gamma"], a["beta"], a["running_mean"], a["running_var"], a["mean"], a["invstd"], a["y"]);
  });
}

/// The first sample lies far from the others, and is alone: no guess from it at the batch's mean is a good one.
OpCase forward_train_first_far(const BatchNormShape& z) {
  const std::int64_t n = z.n * z.c * z.spatial, sample = z.c * z.spatial;
  OpCase c{.op = "", .label = "forward_train " + text(z) + ", first sample far"};
  c.work = static_cast<double>(n);
  c.input("noise", n).input("gamma", z.c).input("beta", z.c).derived("x", n);
  c.derive = [n, sample](Stream&, const Arguments<double>& a) {
    for (std::int64_t i = 0; i < n; ++i) a["x"][i] = a["noise"][i] + (i < sample ? 1000 : 0);
  };
  c.output("mean", z.c).output("invstd", z.c).output("y", n);
  return c.bind(&BatchNormKernels::forward_train, ref::batch_norm_forward_train<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["gamma"], a["beta"], nullptr, nullptr, a["mean"], a["invstd"], a["y"]);
  });
}

OpCase forward_eval(const BatchNormShape& z) {
  const std::int64_t n = z.n * z.c * z.spatial;
  OpCase c{.op = "", .label = "forward_eval " + text(z)};
  c.work = static_cast<double>(n);
  c.input("x", n).input("gamma", z.c).input("beta", z.c);
  c.input("running_mean", z.c).input("running_var", z.c, Fill::positive).output("y", n);
  return c.bind(&BatchNormKernels::forward_eval, ref::batch_norm_forward_eval<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["gamma"], a["beta"], a["running_mean"], a["running_var"], a["y"]);
  });
}

void gradient_buffers(OpCase& c, const BatchNormShape& z, bool dx, bool dgamma, bool dbeta) {
  const std::int64_t n = z.n * z.c * z.spatial;
  c.label += fmt::format("{}{}{}", dx ? "" : ", no dx", dgamma ? "" : ", no dgamma", dbeta ? "" : ", no dbeta");
  c.work = 2.0 * static_cast<double>(n);
  c.input("x", n).input("gamma", z.c).input("beta", z.c).input("dy", n);
  c.derived("y", z.activation == Activation::relu ? n : 0);
  c.output("dx", dx ? n : 0).accumulated("dgamma", dgamma ? z.c : 0).accumulated("dbeta", dbeta ? z.c : 0);
  c.gradients = {{"dx", "x"}, {"dgamma", "gamma"}, {"dbeta", "beta"}};
}

OpCase backward_train(const BatchNormShape& z, bool dx = true, bool dgamma = true, bool dbeta = true) {
  OpCase c{.op = "", .label = "backward_train " + text(z)};
  gradient_buffers(c, z, dx, dgamma, dbeta);
  c.derived("mean", z.c).derived("invstd", z.c);
  const std::int64_t n = z.n * z.c * z.spatial;
  const auto forward = [z, n](Stream& s, const Arguments<double>& a, double* mean, double* invstd, double* y) {
    ref::batch_norm_forward_train<double>(s, z, a["x"], a["gamma"], a["beta"], nullptr, nullptr, mean, invstd, y);
    return dot(n, y, a["dy"]);
  };
  c.derive = [forward, n](Stream& s, const Arguments<double>& a) {
    std::vector<double> unused(static_cast<std::size_t>(n));
    forward(s, a, a["mean"], a["invstd"], a["y"] != nullptr ? a["y"] : unused.data());
  };
  c.objective = [forward, z, n](Stream& s, const Arguments<double>& a) {
    std::vector<double> y(static_cast<std::size_t>(n)), mean(static_cast<std::size_t>(z.c)), invstd(mean);
    return forward(s, a, mean.data(), invstd.data(), y.data());
  };
  return c.bind(&BatchNormKernels::backward_train, ref::batch_norm_backward_train<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["gamma"], a["mean"], a["invstd"], a["y"], a["dy"], a["dx"], a["dgamma"], a["dbeta"]);
  });
}

OpCase backward_eval(const BatchNormShape& z, bool dx = true, bool dgamma = true, bool dbeta = true) {
  OpCase c{.op = "", .label = "backward_eval " + text(z)};
  gradient_buffers(c, z, dx, dgamma, dbeta);
  c.input("running_mean", z.c).input("running_var", z.c, Fill::positive);
  const std::int64_t n = z.n * z.c * z.spatial;
  const auto forward = [z, n](Stream& s, const Arguments<double>& a, double* y) {
    ref::batch_norm_forward_eval<double>(s, z, a["x"], a["gamma"], a["beta"], a["running_mean"], a["running_var"], y);
    return dot(n, y, a["dy"]);
  };
  if (z.activation == Activation::relu) c.derive = [forward](Stream& s, const Arguments<double>& a) { forward(s, a, a["y"]); };
  c.objective = [forward, n](Stream& s, const Arguments<double>& a) {
    std::vector<double> y(static_cast<std::size_t>(n));
    return forward(s, a, y.data());
  };
  return c.bind(&BatchNormKernels::backward_eval, ref::batch_norm_backward_eval<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["gamma"], a["running_mean"], a["running_var"], a["y"], a["dy"], a["dx"], a["dgamma"], a["dbeta"]);
  });
}

OpCase l2_forward(std::int64_t rows, std::int64_t columns, Fill fill) {
  OpCase c{.op = "", .label = fmt::format("forward ({},{}){}", rows, columns, fill == Fill::zero ? ", zero rows" : "")};
  c.work = static_cast<double>(rows * columns);
  c.input("x", rows * columns, fill).output("norm", rows).output("y", rows * columns);
  return c.bind(&L2NormalizeKernels::forward, ref::l2_normalize_forward<double>,
                [=](auto f, Stream& s, const auto& a) { f(s, rows, columns, a["x"], a["norm"], a["y"]); });
}

OpCase l2_backward(std::int64_t rows, std::int64_t columns, Fill fill) {
  const std::int64_t n = rows * columns;
  OpCase c{.op = "", .label = fmt::format("backward ({},{}){}", rows, columns, fill == Fill::zero ? ", zero rows" : "")};
  c.work = static_cast<double>(n);
  c.input("x", n, fill).input("dy", n).derived("norm", rows).derived("y", n).output("dx", n);
  c.derive = [=](Stream& s, const Arguments<double>& a) {
    ref::l2_normalize_forward<double>(s, rows, columns, a["x"], a["norm"], a["y"]);
  };
  if (fill != Fill::zero) {  // at zero the formula is a convention, not a derivative
    c.objective = [=](Stream& s, const Arguments<double>& a) {
      std::vector<double> norm(static_cast<std::size_t>(rows)), y(static_cast<std::size_t>(n));
      ref::l2_normalize_forward<double>(s, rows, columns, a["x"], norm.data(), y.data());
      return dot(n, y.data(), a["dy"]);
    };
    c.gradients = {{"dx", "x"}};
  }
  return c.bind(&L2NormalizeKernels::backward, ref::l2_normalize_backward<double>,
                [=](auto f, Stream& s, const auto& a) { f(s, rows, columns, a["norm"], a["y"], a["dy"], a["dx"]); });
}

}  // namespace

void add_norm_cases(std::vector<OpCase>& table) {
  const std::int64_t sizes[][3] = {{2, 1, 1},     {3, 5, 7},    {31, 3, 1},   {2, 33, 13},  {1, 2, 131},
                                   {64, 32, 276}, {64, 64, 76}, {64, 32, 92}, {64, 64, 38}, {37, 64, 38}};
  for (const auto& size : sizes)
    for (const Activation activation : {Activation::none, Activation::relu}) {
      BatchNormShape z{.n = size[0], .c = size[1], .spatial = size[2], .activation = activation};
      table.push_back(forward_train(z, true, Fill::normal));
      table.push_back(forward_eval(z));
      table.push_back(backward_eval(z));
      // Of two numbers, normalisation leaves only the signs: dx is then all rounding.
      if (z.n * z.spatial > 2) table.push_back(backward_train(z));
    }
  const BatchNormShape z{.n = 5, .c = 7, .spatial = 11, .eps = 1e-3f, .momentum = 0.3f, .activation = Activation::relu};
  const BatchNormShape wide{.n = 33, .c = 3, .spatial = 31};
  table.push_back(forward_train(z, false, Fill::normal));
  table.push_back(forward_train(wide, true, Fill::offset));
  table.push_back(forward_train_first_far({.n = 515, .c = 3, .spatial = 31}));
  for (const auto& missing : {std::pair{0, 1}, {1, 2}, {0, 2}}) {
    bool want[3] = {true, true, true};
    want[missing.first] = want[missing.second] = false;
    table.push_back(backward_train(z, want[0], want[1], want[2]));
    table.push_back(backward_eval(z, want[0], want[1], want[2]));
  }
  for (const auto& [rows, columns] :
       {std::pair<std::int64_t, std::int64_t>{1, 2}, {3, 31}, {33, 7}, {64, 512}, {37, 512}, {2, 20011}})
    for (const auto& make : {l2_forward, l2_backward}) table.push_back(make(rows, columns, Fill::normal));
  table.push_back(l2_forward(3, 5, Fill::zero));
  table.push_back(l2_backward(3, 5, Fill::zero));
}

}  // namespace retort::op_cases
