// LSTM, GRU and the permutation of windows.
#include "op_cases.h"

#include "retort/kernels/ref/recurrent.h"

#include <numeric>
#include <vector>

namespace retort::op_cases {
namespace {

std::string text(const RecurrentShape& z) {
  return fmt::format("{} steps, {} rows, {} -> {}{}", z.steps, z.rows, z.in, z.hidden, z.reverse ? ", reverse" : "");
}

struct Sizes {
  std::int64_t x, y, gates, w_ih, w_hh, b;
};
Sizes sizes(const RecurrentShape& z, std::int64_t blocks) {
  const std::int64_t rows = z.steps * z.rows, out = blocks * z.hidden;
  return {rows * z.in, rows * z.hidden, rows * 4 * z.hidden, out * z.in, out * z.hidden, out};
}

OpCase start(const char* pass, const RecurrentShape& z, const Sizes& n, bool bias) {
  OpCase c{.op = "", .label = fmt::format("{} {}{}", pass, text(z), bias ? "" : ", no bias")};
  c.work = static_cast<double>(z.steps * z.rows) * static_cast<double>(n.w_ih + n.w_hh);
  c.input("x", n.x).input("w_ih", n.w_ih).input("w_hh", n.w_hh).input("b_ih", bias ? n.b : 0).input("b_hh", bias ? n.b : 0);
  return c;
}

/// Unit normal weights over many inputs drive every gate to its ends; tests want the middle too. Nor has 1 - u of a gate next to
/// 1 many digits, which shows where it is the only output.
OpCase& calm(OpCase& c, const RecurrentShape& z) {
  const bool lone = z.steps * z.rows * z.hidden == 1;
  const auto shrink = [&](std::int64_t fan_in) { return lone || fan_in > 8 ? Fill::small : Fill::normal; };
  for (Buffer& b : c.buffers) {
    if (b.name == "w_ih" || b.name == "w_hh") b.fill = shrink(b.name == "w_ih" ? z.in : z.hidden);
    if (b.name == "b_ih" || b.name == "b_hh") b.fill = shrink(1);
  }
  return c;
}

struct Wanted {
  bool dx = true, dw_ih = true, dw_hh = true, biases = true;
  std::string text() const {
    return fmt::format("{}{}{}{}", dx ? "" : ", no dx", dw_ih ? "" : ", no dw_ih", dw_hh ? "" : ", no dw_hh",
                       biases ? "" : ", no db");
  }
};

void gradient_buffers(OpCase& c, const Sizes& n, const Wanted& wanted) {
  c.label += wanted.text();
  c.work *= 3;
  c.input("dy", n.y).output("dx", wanted.dx ? n.x : 0).accumulated("dw_ih", wanted.dw_ih ? n.w_ih : 0);
  c.accumulated("dw_hh", wanted.dw_hh ? n.w_hh : 0);
  const bool biases = wanted.biases && c.buffer("b_ih").count > 0;
  c.accumulated("db_ih", biases ? n.b : 0).accumulated("db_hh", biases ? n.b : 0);
  c.gradients = {{"dx", "x"}, {"dw_ih", "w_ih"}, {"dw_hh", "w_hh"}, {"db_ih", "b_ih"}, {"db_hh", "b_hh"}};
}

double objective(std::int64_t n, const double* y, const Arguments<double>& a) {
  return std::inner_product(y, y + n, a["dy"], 0.0);
}

OpCase lstm_forward(const RecurrentShape& z, bool bias) {
  const Sizes n = sizes(z, 4);
  OpCase c = start("forward", z, n, bias);
  c.output("gates", n.gates).output("cells", n.y).output("y", n.y);
  return calm(c, z).bind(&LstmKernels::forward, ref::lstm_forward<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["w_ih"], a["w_hh"], a["b_ih"], a["b_hh"], a["gates"], a["cells"], a["y"]);
  });
}

OpCase lstm_backward(const RecurrentShape& z, bool bias, const Wanted& wanted) {
  const Sizes n = sizes(z, 4);
  OpCase c = start("backward", z, n, bias);
  c.derived("gates", n.gates).derived("cells", n.y).derived("y", n.y);
  gradient_buffers(c, n, wanted);
  const auto forward = [z](Stream& s, const Arguments<double>& a, double* gates, double* cells, double* y) {
    ref::lstm_forward<double>(s, z, a["x"], a["w_ih"], a["w_hh"], a["b_ih"], a["b_hh"], gates, cells, y);
  };
  c.derive = [forward](Stream& s, const Arguments<double>& a) { forward(s, a, a["gates"], a["cells"], a["y"]); };
  c.objective = [forward, n](Stream& s, const Arguments<double>& a) {
    std::vector<double> gates(static_cast<std::size_t>(n.gates)), cells(static_cast<std::size_t>(n.y)), y(cells);
    forward(s, a, gates.data(), cells.data(), y.data());
    return objective(n.y, y.data(), a);
  };
  return calm(c, z).bind(&LstmKernels::backward, ref::lstm_backward<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["w_ih"], a["w_hh"], a["gates"], a["cells"], a["y"], a["dy"], a["dx"], a["dw_ih"], a["dw_hh"], a["db_ih"],
      a["db_hh"]);
  });
}

OpCase gru_forward(const RecurrentShape& z, bool bias) {
  const Sizes n = sizes(z, 3);
  OpCase c = start("forward", z, n, bias);
  c.output("gates", n.gates).output("y", n.y);
  return calm(c, z).bind(&GruKernels::forward, ref::gru_forward<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["w_ih"], a["w_hh"], a["b_ih"], a["b_hh"], a["gates"], a["y"]);
  });
}

OpCase gru_backward(const RecurrentShape& z, bool bias, const Wanted& wanted) {
  const Sizes n = sizes(z, 3);
  OpCase c = start("backward", z, n, bias);
  c.derived("gates", n.gates).derived("y", n.y);
  gradient_buffers(c, n, wanted);
  const auto forward = [z](Stream& s, const Arguments<double>& a, double* gates, double* y) {
    ref::gru_forward<double>(s, z, a["x"], a["w_ih"], a["w_hh"], a["b_ih"], a["b_hh"], gates, y);
  };
  c.derive = [forward](Stream& s, const Arguments<double>& a) { forward(s, a, a["gates"], a["y"]); };
  c.objective = [forward, n](Stream& s, const Arguments<double>& a) {
    std::vector<double> gates(static_cast<std::size_t>(n.gates)), y(static_cast<std::size_t>(n.y));
    forward(s, a, gates.data(), y.data());
    return objective(n.y, y.data(), a);
  };
  return calm(c, z).bind(&GruKernels::backward, ref::gru_backward<double>, [z](auto f, Stream& s, const auto& a) {
    f(s, z, a["x"], a["w_ih"], a["w_hh"], a["gates"], a["y"], a["dy"], a["dx"], a["dw_ih"], a["dw_hh"], a["db_ih"], a["db_hh"]);
  });
}

/// sizes: of x (a, b, c); order: which of its dimensions is which of y's.
OpCase permute(const std::array<std::int64_t, 3>& x, const std::array<int, 3>& order) {
  const std::int64_t strides[3] = {x[1] * x[2], x[2], 1}, n = x[0] * x[1] * x[2];
  PermuteShape z{};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto from = static_cast<std::size_t>(order[i]);
    z.sizes[i] = x[from];
    z.strides[i] = strides[from];
  }
  OpCase c{.op = "", .label = fmt::format("({}) by ({})", fmt::join(x, ","), fmt::join(order, ",")), .tolerance = 0};
  c.work = static_cast<double>(n);
  c.input("x", n).output("y", n);
  return c.bind(&PermuteKernels::forward, ref::permute<double>,
                [z](auto f, Stream& s, const auto& a) { f(s, z, a["x"], a["y"]); });
}

}  // namespace

void add_recurrent_cases(std::vector<OpCase>& table) {
  const RecurrentShape shapes[] = {{1, 1, 1, 1},   {3, 2, 3, 5},    {5, 3, 7, 4},      {2, 9, 4, 33},
                                   {4, 13, 2, 16}, {7, 19, 31, 20}, {25, 5, 6, 9},     {3, 65, 9, 17},
                                   {2, 3, 70, 66}, {3, 17, 3, 128}, {2, 33, 128, 128}, {3, 2, 3, 131},
                                   {2, 135, 3, 5}, {3, 270, 2, 6},  {37, 9, 5, 11},    {2, 1040, 2, 3}};
  for (RecurrentShape z : shapes)
    for (const bool reverse : {false, true}) {
      z.reverse = reverse;
      table.push_back(lstm_forward(z, true));
      table.push_back(gru_forward(z, true));
      table.push_back(lstm_backward(z, true, {}));
      table.push_back(gru_backward(z, true, {}));
    }
  const RecurrentShape small{4, 3, 5, 6}, reversed{4, 3, 5, 6, true};
  for (const auto& z : {small, reversed}) {
    table.push_back(lstm_forward(z, false));
    table.push_back(gru_forward(z, false));
    table.push_back(lstm_backward(z, false, {}));
    table.push_back(gru_backward(z, false, {}));
  }
  for (const Wanted& wanted :
       {Wanted{.dx = false}, Wanted{.dw_ih = false, .biases = false}, Wanted{.dx = false, .dw_hh = false}}) {
    table.push_back(lstm_backward(small, true, wanted));
    table.push_back(gru_backward(small, true, wanted));
  }
  for (const auto& order : {std::array{2, 0, 1}, std::array{1, 2, 0}, std::array{0, 2, 1}, std::array{0, 1, 2}})
    table.push_back(permute({3, 5, 7}, order));
  table.push_back(permute({64, 3, 100}, {2, 0, 1}));
  table.push_back(permute({1, 1, 1}, {2, 1, 0}));
}

}  // namespace retort::op_cases
