// Element-wise maps, reductions, dropout, copies.
#include "op_cases.h"

#include "retort/kernels/ref/batch.h"
#include "retort/kernels/ref/copy.h"
#include "retort/kernels/ref/dropout.h"
#include "retort/kernels/ref/elementwise.h"
#include "retort/kernels/ref/reduce.h"

#include <numeric>

namespace retort::op_cases {
namespace {

constexpr std::int64_t lengths[] = {1, 31, 33, 1009, 64 * 512, 100003};

double dot(std::int64_t n, const double* a, const double* b) { return std::inner_product(a, a + n, b, 0.0); }

void add_unary(std::vector<OpCase>& table, Unary op, std::int64_t n) {
  const Fill fill = op == Unary::log ? Fill::positive : op == Unary::relu ? Fill::away_from_0 : Fill::normal;
  OpCase forward{.op = "", .label = fmt::format("{} forward ({})", name(op), n), .work = static_cast<double>(n)};
  forward.input("x", n, fill).output("y", n);
  table.push_back(forward.bind(&UnaryKernels::forward, ref::unary_forward<double>,
                               [=](auto f, Stream& s, const auto& a) { f(s, op, n, a["x"], a["y"]); }));
  OpCase in_place{.op = "", .label = fmt::format("{} forward in place ({})", name(op), n), .work = static_cast<double>(n)};
  in_place.accumulated("y", n, fill);
  table.push_back(in_place.bind(&UnaryKernels::forward, ref::unary_forward<double>,
                                [=](auto f, Stream& s, const auto& a) { f(s, op, n, a["y"], a["y"]); }));
  OpCase backward{.op = "", .label = fmt::format("{} backward ({})", name(op), n), .work = static_cast<double>(n)};
  backward.input("x", n, fill).input("dy", n).derived("y", n).output("dx", n);
  backward.derive = [=](Stream& s, const Arguments<double>& a) { ref::unary_forward<double>(s, op, n, a["x"], a["y"]); };
  backward.objective = [=](Stream& s, const Arguments<double>& a) {
    std::vector<double> y(static_cast<std::size_t>(n));
    ref::unary_forward<double>(s, op, n, a["x"], y.data());
    return dot(n, y.data(), a["dy"]);
  };
  backward.gradients = {{"dx", "x"}};
  table.push_back(backward.bind(&UnaryKernels::backward, ref::unary_backward<double>,
                                [=](auto f, Stream& s, const auto& a) { f(s, op, n, a["x"], a["y"], a["dy"], a["dx"]); }));
}

OpCase binary_backward(Binary op, const BinaryShape& z, bool da, bool db) {
  const std::int64_t n = z.rows * z.columns, m = z.b_rows * z.columns;
  OpCase c{.op = "",
           .label = fmt::format("{} backward ({},{}) b_rows {}{}{}", name(op), z.rows, z.columns, z.b_rows, da ? "" : ", no da",
                                db ? "" : ", no db"),
           .work = static_cast<double>(n)};
  c.input("a", n).input("b", m).input("dy", n).output("da", da ? n : 0).output("db", db ? m : 0);
  c.objective = [=](Stream& s, const Arguments<double>& a) {
    std::vector<double> y(static_cast<std::size_t>(n));
    ref::binary_forward<double>(s, op, z, a["a"], a["b"], y.data());
    return dot(n, y.data(), a["dy"]);
  };
  c.gradients = {{"da", "a"}, {"db", "b"}};
  return c.bind(&BinaryKernels::backward, ref::binary_backward<double>,
                [=](auto f, Stream& s, const auto& a) { f(s, op, z, a["a"], a["b"], a["dy"], a["da"], a["db"]); });
}

void add_binary(std::vector<OpCase>& table, Binary op, const BinaryShape& z) {
  const std::int64_t n = z.rows * z.columns;
  OpCase c{.op = "",
           .label = fmt::format("{} forward ({},{}) b_rows {}", name(op), z.rows, z.columns, z.b_rows),
           .work = static_cast<double>(n)};
  c.input("a", n).input("b", z.b_rows * z.columns);
  OpCase in_place = c;
  c.output("y", n);
  table.push_back(c.bind(&BinaryKernels::forward, ref::binary_forward<double>,
                         [=](auto f, Stream& s, const auto& a) { f(s, op, z, a["a"], a["b"], a["y"]); }));
  in_place.label += " in place";
  in_place.accumulated("y", n);
  table.push_back(in_place.bind(&BinaryKernels::forward, ref::binary_forward<double>,
                                [=](auto f, Stream& s, const auto& a) { f(s, op, z, a["y"], a["b"], a["y"]); }));
  table.push_back(binary_backward(op, z, true, true));
}

void add_scale(std::vector<OpCase>& table, std::int64_t n) {
  for (const float beta : {0.0f, 1.0f, -0.5f}) {
    OpCase c{.op = "", .label = fmt::format("({}) beta {}", n, beta), .work = static_cast<double>(n)};
    c.input("x", n).add("y", n, beta == 0 ? Role::overwritten : Role::accumulated);
    table.push_back(c.bind(&ScaleKernels::forward, ref::scale_forward<double>,
                           [=](auto f, Stream& s, const auto& a) { f(s, n, 1.75f, a["x"], beta, a["y"]); }));
  }
  OpCase c{.op = "", .label = fmt::format("({}) in place", n), .work = static_cast<double>(n)};
  c.accumulated("y", n);
  table.push_back(c.bind(&ScaleKernels::forward, ref::scale_forward<double>,
                         [=](auto f, Stream& s, const auto& a) { f(s, n, -0.3f, a["y"], 0.0f, a["y"]); }));
}

void add_reduce(std::vector<OpCase>& table, Reduction op, std::int64_t n) {
  OpCase forward{.op = "", .label = fmt::format("{} forward ({})", name(op), n), .work = static_cast<double>(n)};
  // Positive values where the sum of normal ones would nearly cancel: the tolerance is relative to the result.
  forward.input("x", n, op == Reduction::l1 ? Fill::normal : Fill::positive).output("y", 1);
  table.push_back(forward.bind(&ReduceKernels::forward, ref::reduce_forward<double>,
                               [=](auto f, Stream& s, const auto& a) { f(s, op, n, a["x"], a["y"]); }));
  OpCase backward{.op = "", .label = fmt::format("{} backward ({})", name(op), n), .work = static_cast<double>(n)};
  backward.input("x", n, Fill::away_from_0).input("dy", 1).output("dx", n);
  backward.objective = [=](Stream& s, const Arguments<double>& a) {
    double y = 0;
    ref::reduce_forward<double>(s, op, n, a["x"], &y);
    return y * *a["dy"];
  };
  backward.gradients = {{"dx", "x"}};
  table.push_back(backward.bind(&ReduceKernels::backward, ref::reduce_backward<double>,
                                [=](auto f, Stream& s, const auto& a) { f(s, op, n, a["x"], a["dy"], a["dx"]); }));
}

void add_dropout(std::vector<OpCase>& table, std::int64_t n, float p, bool step) {
  const auto key = [](const auto& a) { return PhiloxKey{0x123456789abcdefull, 3, a.ints("step")}; };
  const std::string label = fmt::format("({}) p {}{}", n, p, step ? "" : ", no step");
  OpCase apply{.op = "", .label = "apply " + label, .tolerance = 1e-6, .work = static_cast<double>(n)};
  apply.input("x", n).input("step", step ? 1 : 0, Fill::index, 1000).output("y", n);
  table.push_back(apply.bind(&DropoutKernels::apply, ref::dropout_apply<double>,
                             [=](auto f, Stream& s, const auto& a) { f(s, n, p, key(a), a["x"], a["y"]); }));
  OpCase in_place{.op = "", .label = "apply in place " + label, .tolerance = 1e-6, .work = static_cast<double>(n)};
  in_place.accumulated("y", n).input("step", step ? 1 : 0, Fill::index, 1000);
  table.push_back(in_place.bind(&DropoutKernels::apply, ref::dropout_apply<double>,
                                [=](auto f, Stream& s, const auto& a) { f(s, n, p, key(a), a["y"], a["y"]); }));
  OpCase mask{.op = "", .label = "mask " + label, .tolerance = 0, .work = static_cast<double>(n)};
  mask.input("step", step ? 1 : 0, Fill::index, 1000).output("mask", n);
  table.push_back(mask.bind(&DropoutKernels::mask, ref::dropout_mask<double>,
                            [=](auto f, Stream& s, const auto& a) { f(s, n, p, key(a), a["mask"]); }));
}

void add_copies(std::vector<OpCase>& table) {
  struct Strides {
    std::int64_t rows, columns, from, to;
  };
  for (const auto& z : {Strides{1, 1, 1, 1}, {3, 5, 5, 5}, {31, 7, 11, 33}, {64, 512, 1024, 512}, {64, 300, 300, 300}}) {
    OpCase c{.op = "",
             .label = fmt::format("strided ({},{}) from stride {} to {}", z.rows, z.columns, z.from, z.to),
             .tolerance = 0,
             .work = static_cast<double>(z.rows * z.columns)};
    c.input("from", z.rows * z.from).accumulated("to", z.rows * z.to);  // what lies between the rows must stay
    table.push_back(c.bind(&CopyKernels::strided, ref::copy_strided<double>,
                           [=](auto f, Stream& s, const auto& a) { f(s, z.rows, z.columns, a["from"], z.from, a["to"], z.to); }));
  }
  for (const auto& [rows, columns, source] :
       {std::array<std::int64_t, 3>{1, 1, 1}, {33, 7, 31}, {64, 300, 1009}, {37, 300, 1009}}) {
    OpCase c{.op = "",
             .label = fmt::format("gather ({},{}) of {}", rows, columns, source),
             .tolerance = 0,
             .work = static_cast<double>(rows * columns)};
    c.input("index", rows, Fill::index, source).input("from", source * columns).output("to", rows * columns);
    table.push_back(c.bind(&CopyKernels::gather, ref::copy_gather<double>,
                           [rows = rows, columns = columns](auto f, Stream& s, const auto& a) {
                             f(s, rows, columns, a.ints("index"), a["from"], a["to"]);
                           }));
    OpCase labels{.op = "", .label = fmt::format("gather_labels ({}) of {}", rows, source), .work = static_cast<double>(rows)};
    labels.input("index", rows, Fill::index, source).input("from", source, Fill::index, 18).output("to", rows).as_integer();
    table.push_back(labels.bind(
        &CopyKernels::gather_labels, ref::copy_gather_labels,
        [rows = rows](auto f, Stream& s, const auto& a) { f(s, rows, a.ints("index"), a.ints("from"), a.ints("to")); }));
  }
}

/// The third of `batches` or so; the last one may be short, as an epoch's is.
void add_batches(std::vector<OpCase>& table) {
  constexpr std::int64_t batches = 3;
  for (const auto& [rows, columns, stride, source] :
       {std::array<std::int64_t, 4>{1, 1, 1, 1}, {33, 7, 33, 31}, {64, 300, 64, 1009}, {37, 300, 64, 1009}, {31, 12, 37, 5}}) {
    OpCase c{.op = "",
             .label = fmt::format("gather ({},{}) of {}, stride {}", rows, columns, source, stride),
             .tolerance = 0,
             .work = static_cast<double>(rows * columns)};
    c.input("order", batches * stride, Fill::index, source).input("batch", 1, Fill::index, batches);
    c.input("data", source * columns).input("data1", source, Fill::index, 18).input("data2", source, Fill::index, 3);
    c.output("windows", rows * columns).output("labels1", rows).as_integer().output("labels2", rows).as_integer();
    table.push_back(c.bind(&BatchKernels::gather, ref::batch_gather<double>,
                           [=, shape = BatchShape{rows, columns, stride}](auto f, Stream& s, const auto& a) {
                             f(s, shape, a.ints("order"), a.ints("batch"), a["data"], a.ints("data1"), a.ints("data2"),
                               a["windows"], a.ints("labels1"), a.ints("labels2"));
                           }));
  }
  for (const std::int64_t n : {1, 5, 33, 1024}) {
    OpCase c{.op = "", .label = fmt::format("record ({})", n), .tolerance = 0, .work = static_cast<double>(n)};
    c.input("values", n, Fill::with_nan).accumulated("history", batches * n);  // the other batches' values must stay
    c.add("batch", 1, Role::accumulated, Fill::index, batches);
    table.push_back(c.bind(&BatchKernels::record, ref::batch_record<double>,
                           [=](auto f, Stream& s, const auto& a) { f(s, n, a["values"], a["history"], a.ints("batch")); }));
  }
}

}  // namespace

void add_elementwise_cases(std::vector<OpCase>& table) {
  for (const std::int64_t n : lengths) {
    for (const Unary op : {Unary::relu, Unary::exp, Unary::log, Unary::tanh, Unary::sigmoid}) add_unary(table, op, n);
    for (const Reduction op : {Reduction::sum, Reduction::mean, Reduction::l1}) add_reduce(table, op, n);
    add_scale(table, n);
    add_dropout(table, n, n % 2 == 0 ? 0.5f : 0.3f, n % 3 != 0);
  }
  add_dropout(table, 1013, 0.0f, true);
  for (const Binary op : {Binary::add, Binary::sub, Binary::mul}) {
    for (const BinaryShape z :
         {BinaryShape{1, 1, 1}, {1, 33, 1}, {31, 7, 31}, {31, 33, 1}, {13, 131, 1}, {64, 512, 64}, {64, 512, 1}, {4099, 3, 1}})
      add_binary(table, op, z);
    table.push_back(binary_backward(op, {7, 13, 1}, false, true));
    table.push_back(binary_backward(op, {7, 13, 7}, true, false));
    table.push_back(binary_backward(op, {7, 13, 7}, false, true));
  }
  add_copies(table);
  add_batches(table);
}

}  // namespace retort::op_cases
