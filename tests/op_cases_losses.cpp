// Softmax, the losses, counting predictions; optimisers.
#include "op_cases.h"

#include "retort/kernels/ref/confusion.h"
#include "retort/kernels/ref/optimizer.h"
#include "retort/kernels/ref/softmax.h"

#include <numeric>

namespace retort::op_cases {
namespace {

const char* note(Fill logits) { return logits == Fill::far ? ", large logits" : ""; }

double dot(std::int64_t n, const double* a, const double* b) { return std::inner_product(a, a + n, b, 0.0); }

void add_log_softmax(std::vector<OpCase>& table, std::int64_t rows, std::int64_t columns, Fill logits = Fill::normal) {
  const std::int64_t n = rows * columns;
  OpCase forward{
      .op = "", .label = fmt::format("forward ({},{}){}", rows, columns, note(logits)), .work = static_cast<double>(n)};
  forward.input("x", n, logits).output("y", n);
  table.push_back(forward.bind(&LogSoftmaxKernels::forward, ref::log_softmax_forward<double>,
                               [=](auto f, Stream& s, const auto& a) { f(s, rows, columns, a["x"], a["y"]); }));
  OpCase backward{
      .op = "", .label = fmt::format("backward ({},{}){}", rows, columns, note(logits)), .work = static_cast<double>(n)};
  backward.input("x", n, logits).input("dy", n).derived("y", n).output("dx", n);
  backward.derive = [=](Stream& s, const Arguments<double>& a) {
    ref::log_softmax_forward<double>(s, rows, columns, a["x"], a["y"]);
  };
  backward.objective = [=](Stream& s, const Arguments<double>& a) {
    std::vector<double> y(static_cast<std::size_t>(n));
    ref::log_softmax_forward<double>(s, rows, columns, a["x"], y.data());
    return dot(n, y.data(), a["dy"]);
  };
  backward.gradients = {{"dx", "x"}};
  table.push_back(backward.bind(&LogSoftmaxKernels::backward, ref::log_softmax_backward<double>,
                                [=](auto f, Stream& s, const auto& a) { f(s, rows, columns, a["y"], a["dy"], a["dx"]); }));
}

OpCase cross_entropy(std::int64_t rows, std::int64_t columns, bool gradient, Fill labels, Fill logits = Fill::normal) {
  const std::int64_t n = rows * columns;
  OpCase c{.op = "",
           .label = fmt::format("({},{}){}{}{}", rows, columns, gradient ? "" : ", no gradient",
                                labels == Fill::bad_labels ? ", labels out of range" : "", note(logits)),
           .work = static_cast<double>(n)};
  c.input("logits", n, logits).input("labels", rows, labels, columns).output("loss", 1).output("dlogits", gradient ? n : 0);
  if (labels != Fill::bad_labels) {
    c.objective = [=](Stream& s, const Arguments<double>& a) {
      double loss = 0;
      ref::cross_entropy_forward<double>(s, rows, columns, a["logits"], a.ints("labels"), &loss, nullptr);
      return loss;
    };
    c.gradients = {{"dlogits", "logits"}};
  }
  return c.bind(&CrossEntropyKernels::forward, ref::cross_entropy_forward<double>, [=](auto f, Stream& s, const auto& a) {
    f(s, rows, columns, a["logits"], a.ints("labels"), a["loss"], a["dlogits"]);
  });
}

OpCase distill_kl(std::int64_t rows, std::int64_t columns, float tau, bool dstudent = true, bool dteacher = true,
                  Fill logits = Fill::normal) {
  const std::int64_t n = rows * columns;
  OpCase c{.op = "",
           .label = fmt::format("({},{}) tau {}{}{}{}", rows, columns, tau, dstudent ? "" : ", no dstudent",
                                dteacher ? "" : ", no dteacher", note(logits)),
           .work = static_cast<double>(n)};
  c.input("student", n, logits).input("teacher", n, logits).output("loss", 1);
  c.output("dstudent", dstudent ? n : 0).output("dteacher", dteacher ? n : 0);
  c.objective = [=](Stream& s, const Arguments<double>& a) {
    double loss = 0;
    ref::distill_kl_forward<double>(s, rows, columns, tau, a["student"], a["teacher"], &loss, nullptr, nullptr);
    return loss;
  };
  c.gradients = {{"dstudent", "student"}, {"dteacher", "teacher"}};
  return c.bind(&DistillKlKernels::forward, ref::distill_kl_forward<double>, [=](auto f, Stream& s, const auto& a) {
    f(s, rows, columns, tau, a["student"], a["teacher"], a["loss"], a["dstudent"], a["dteacher"]);
  });
}

OpCase multitask(const MultitaskShape& z, bool teacher, bool gradient, Fill labels = Fill::index, Fill logits = Fill::normal) {
  const std::int64_t n1 = z.rows * z.classes1, n2 = z.rows * z.classes2;
  OpCase c{.op = "",
           .label = fmt::format("({},{}+{}) alpha {} lambda {} tau {}{}{}{}{}", z.rows, z.classes1, z.classes2, z.alpha, z.lambda,
                                z.tau, teacher ? "" : ", no teacher", gradient ? "" : ", no gradient",
                                labels == Fill::bad_labels ? ", labels out of range" : "", note(logits)),
           .work = static_cast<double>(n1 + n2)};
  c.input("logits1", n1, logits).input("logits2", n2, logits);
  c.input("teacher1", teacher ? n1 : 0, logits).input("teacher2", teacher ? n2 : 0, logits);
  c.input("labels1", z.rows, labels, z.classes1).input("labels2", z.rows, Fill::index, z.classes2);
  c.output("losses", multitask_loss_count).output("dlogits1", gradient ? n1 : 0).output("dlogits2", gradient ? n2 : 0);
  if (labels != Fill::bad_labels) {
    c.objective = [z](Stream& s, const Arguments<double>& a) {
      double losses[multitask_loss_count];
      ref::multitask_distill_loss_forward<double>(s, z, a["logits1"], a["logits2"], a["teacher1"], a["teacher2"],
                                                  a.ints("labels1"), a.ints("labels2"), losses, nullptr, nullptr);
      return losses[loss_total];
    };
    c.gradients = {{"dlogits1", "logits1"}, {"dlogits2", "logits2"}};
  }
  return c.bind(&MultitaskDistillKernels::forward, ref::multitask_distill_loss_forward<double>,
                [z](auto f, Stream& s, const auto& a) {
                  f(s, z, a["logits1"], a["logits2"], a["teacher1"], a["teacher2"], a.ints("labels1"), a.ints("labels2"),
                    a["losses"], a["dlogits1"], a["dlogits2"]);
                });
}

OpCase confusion(std::int64_t rows, std::int64_t columns, Fill logits, Fill labels) {
  OpCase c{.op = "",
           .label = fmt::format("({},{}){}{}", rows, columns,
                                logits == Fill::with_nan     ? ", NaN"
                                : logits == Fill::few_values ? ", ties"
                                                             : "",
                                labels == Fill::bad_labels ? ", labels out of range" : ""),
           .work = static_cast<double>(rows * columns)};
  c.input("logits", rows * columns, logits).input("labels", rows, labels, columns);
  c.add("counts", columns * columns, Role::accumulated, Fill::index, 1000);
  return c.bind(&ConfusionKernels::add, ref::confusion_add<double>,
                [=](auto f, Stream& s, const auto& a) { f(s, rows, columns, a["logits"], a.ints("labels"), a.ints("counts")); });
}

OpCase adam(std::int64_t n, AdamHyper h, int step, bool teacher) {
  OpCase c{
      .op = "",
      .label = fmt::format("adam_ema ({}) step {}{}{}", n, step, h.decoupled ? ", decoupled" : "", teacher ? "" : ", no teacher"),
      .work = static_cast<double>(10 * n)};
  const Fill moments = step == 0 ? Fill::zero : Fill::positive;
  c.input("step", 1, Fill::constant_int, step).input("g", n).accumulated("p", n);
  c.accumulated("m", n, moments).accumulated("v", n, moments).accumulated("teacher", teacher ? n : 0);
  return c.bind(&OptimizerKernels::adam_ema, ref::adam_ema<double>, [=](auto f, Stream& s, const auto& a) {
    f(s, n, h, a.ints("step"), a["p"], a["g"], a["m"], a["v"], a["teacher"]);
  });
}

OpCase sgd(std::int64_t n, SgdHyper h, int step) {
  OpCase c{.op = "",
           .label = fmt::format("sgd ({}) momentum {} weight decay {} step {}", n, h.momentum, h.weight_decay, step),
           .work = static_cast<double>(3 * n)};
  c.input("step", 1, Fill::constant_int, step).input("g", n).accumulated("p", n).accumulated("velocity", h.momentum != 0 ? n : 0);
  return c.bind(&OptimizerKernels::sgd, ref::sgd<double>,
                [=](auto f, Stream& s, const auto& a) { f(s, n, h, a.ints("step"), a["p"], a["g"], a["velocity"]); });
}

}  // namespace

void add_loss_cases(std::vector<OpCase>& table) {
  for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{1, 1},
                                      {1, 2},
                                      {31, 3},
                                      {64, 12},
                                      {33, 13},
                                      {64, 18},
                                      {37, 18},
                                      {257, 33},
                                      {64, 64},
                                      {5, 1009}})
    add_log_softmax(table, rows, columns);
  add_log_softmax(table, 33, 12, Fill::far);
  for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{1, 2},
                                      {3, 31},
                                      {64, 2},
                                      {64, 3},
                                      {64, 12},
                                      {37, 13},
                                      {64, 18},
                                      {1031, 18},
                                      {64, 64}}) {
    table.push_back(cross_entropy(rows, columns, true, Fill::index));
    // One row of two classes may be nearly the same on both sides: a divergence near zero is a difference of nearly equal
    // numbers, and its relative error says nothing. One row of many is not.
    table.push_back(distill_kl(rows, rows == 1 ? 31 : columns, 3.0f));
    for (const Fill fill : {Fill::normal, Fill::few_values, Fill::with_nan})
      table.push_back(confusion(rows, columns, fill, fill == Fill::normal ? Fill::index : Fill::bad_labels));
  }
  table.push_back(cross_entropy(33, 12, false, Fill::index));
  table.push_back(cross_entropy(131, 5, true, Fill::bad_labels));
  table.push_back(distill_kl(33, 7, 1.0f));
  table.push_back(distill_kl(31, 12, 2.0f, true, false));
  table.push_back(distill_kl(31, 12, 2.0f, false, false));
  for (const auto& [rows, c1, c2] :
       {std::array<std::int64_t, 3>{1, 2, 2}, {31, 3, 2}, {64, 12, 3}, {37, 13, 3}, {64, 18, 2}, {519, 18, 2}, {5, 33, 31}}) {
    table.push_back(multitask({.rows = rows, .classes1 = c1, .classes2 = c2}, true, true));
    table.push_back(multitask({.rows = rows, .classes1 = c1, .classes2 = c2}, false, true));
  }
  table.push_back(multitask({.rows = 33, .classes1 = 12, .classes2 = 3, .alpha = 0.3f, .lambda = 0.1f, .tau = 2}, true, true));
  table.push_back(multitask({.rows = 64, .classes1 = 12, .classes2 = 3}, true, false));
  table.push_back(multitask({.rows = 64, .classes1 = 12, .classes2 = 3}, true, true, Fill::bad_labels));
  table.push_back(cross_entropy(37, 13, true, Fill::index, Fill::far));
  table.push_back(distill_kl(37, 13, 3.0f, true, true, Fill::far));
  table.push_back(multitask({.rows = 37, .classes1 = 12, .classes2 = 3}, true, true, Fill::index, Fill::far));
}

void add_optimizer_cases(std::vector<OpCase>& table) {
  // Rates far above the usual, so that a wrong update is as large as the weights and cannot hide beside them.
  for (const std::int64_t n : {1, 31, 33, 1009, 100003}) {
    table.push_back(adam(n, {.lr = 0.3f, .ema = 0.7f}, 0, true));
    table.push_back(adam(n, {.lr = 0.3f, .eps = 0.1f, .weight_decay = 0.2f, .ema = 0.999f}, 41, true));
    table.push_back(adam(n, {.lr = 0.3f, .beta1 = 0.8f, .weight_decay = 0.2f, .decoupled = true}, 7, false));
    table.push_back(sgd(n, {.lr = 0.3f}, 3));
    table.push_back(sgd(n, {.lr = 0.3f, .momentum = 0.9f, .weight_decay = 0.1f}, 0));
    table.push_back(sgd(n, {.lr = 0.3f, .momentum = 0.9f, .weight_decay = 0.1f}, 5));
    OpCase ema{.op = "", .label = fmt::format("ema ({})", n), .work = static_cast<double>(n)};
    ema.input("from", n).accumulated("to", n);
    table.push_back(ema.bind(&OptimizerKernels::ema, ref::ema<double>,
                             [=](auto f, Stream& s, const auto& a) { f(s, n, 0.7f, a["from"], a["to"]); }));
  }
  OpCase advance{.op = "", .label = "advance"};
  advance.add("step", 1, Role::accumulated, Fill::index, 1000);
  table.push_back(
      advance.bind(&OptimizerKernels::advance, ref::advance, [](auto f, Stream& s, const auto& a) { f(s, a.ints("step")); }));
}

}  // namespace retort::op_cases
