#include "retort/core/ops/common.h"
#include "retort/kernels/confusion.h"
#include "retort/kernels/elementwise.h"
#include "retort/kernels/normalize.h"
#include "retort/kernels/softmax.h"

namespace retort::ops {

namespace {

void expect_rows(const char* op, const char* what, const Tensor& x) {
  expect(op, what, x);
  check(x.shape().rank() == 2 && x.count() > 0, "{}: {} has shape {}, not (rows, classes)", op, what, x.shape());
}

void expect_labels(const char* op, const Tensor& logits, const Tensor& labels) {
  expect(op, "labels", labels, DType::i32);
  expect_with(op, logits, "labels", labels, DType::i32);
  check(labels.shape() == Shape{logits.shape()[0]}, "{}: labels {} for logits {}", op, labels.shape(), logits.shape());
}

void expect_teacher(const char* op, const Tensor& student, const Tensor& teacher) {
  expect_rows(op, "teacher", teacher);
  expect_with(op, student, "teacher", teacher);
  check(teacher.shape() == student.shape(), "{}: teacher {} and student {}", op, teacher.shape(), student.shape());
}

/// A gradient written in the forward pass, times the scalar gradient of the loss that arrives in backward: mostly the 1 that
/// backward begins with.
Tensor times_scalar(const Tensor& gradient, const Tensor& scalar) {
  if (const auto& one = scalar.context().one(); one && scalar.impl()->storage == one->storage) return gradient;
  Tensor scaled = Tensor::empty_like(gradient);
  kernel<BinaryKernels>(gradient.device())
      .forward(gradient.stream(), Binary::mul, {gradient.count(), 1, 1}, gradient.data(), scalar.data(), scaled.mutable_data());
  return scaled;
}

bool wants_grad(const Tensor& x) { return autograd::needs_graph(std::span(&x, 1)); }

/// Records a scalar loss whose gradients (undefined where not asked for) are already there.
void record_scaled(const char* op, const Tensor& loss, std::initializer_list<Tensor> inputs, const Tensor& first, const Tensor& second) {
  autograd::record(op, loss, inputs, [first, second](const Tensor& dy, Node& node) {
    if (first.defined() && node.wants(0)) node.give(0, times_scalar(first, dy));
    if (second.defined() && node.wants(1)) node.give(1, times_scalar(second, dy));
  });
}

float* data_of(const Tensor& x) { return x.defined() ? x.mutable_data() : nullptr; }

}  // namespace

Tensor log_softmax(const Tensor& x) {
  expect_rows("log_softmax", "input", x);
  const std::int64_t rows = x.shape()[0], columns = x.shape()[1];
  const Tensor y = Tensor::empty_like(x);
  kernel<LogSoftmaxKernels>(x.device()).forward(x.stream(), rows, columns, x.data(), y.mutable_data());
  autograd::record("log_softmax", y, {x}, [=, saved = Saved(y)](const Tensor& dy, Node& node) {
    Tensor dx = Tensor::empty_like(dy);
    kernel<LogSoftmaxKernels>(dy.device()).backward(dy.stream(), rows, columns, saved.get().data(), dy.data(), dx.mutable_data());
    node.give(0, std::move(dx));
  });
  return y;
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels) {
  expect_rows("cross_entropy", "logits", logits);
  expect_labels("cross_entropy", logits, labels);
  const Tensor loss = Tensor::empty(logits.context(), Shape{});
  const Tensor gradient = wants_grad(logits) ? Tensor::empty_like(logits) : Tensor();
  kernel<CrossEntropyKernels>(logits.device())
      .forward(logits.stream(), logits.shape()[0], logits.shape()[1], logits.data(), labels.ints(), loss.mutable_data(),
               data_of(gradient));
  record_scaled("cross_entropy", loss, {logits}, gradient, Tensor());
  return loss;
}

Tensor distill_kl(const Tensor& student, const Tensor& teacher, float tau) {
  expect_rows("distill_kl", "student", student);
  expect_teacher("distill_kl", student, teacher);
  check(tau > 0.0f, "distill_kl: temperature {} must be positive", tau);
  const Tensor loss = Tensor::empty(student.context(), Shape{});
  const Tensor to_student = wants_grad(student) ? Tensor::empty_like(student) : Tensor();
  const Tensor to_teacher = wants_grad(teacher) ? Tensor::empty_like(teacher) : Tensor();
  kernel<DistillKlKernels>(student.device())
      .forward(student.stream(), student.shape()[0], student.shape()[1], tau, student.data(), teacher.data(), loss.mutable_data(),
               data_of(to_student), data_of(to_teacher));
  record_scaled("distill_kl", loss, {student, teacher}, to_student, to_teacher);
  return loss;
}

MultitaskLosses multitask_distill_loss(const Tensor& logits1, const Tensor& logits2, const Tensor& teacher1, const Tensor& teacher2,
                                       const Tensor& labels1, const Tensor& labels2, const MultitaskOptions& options) {
  static constexpr const char* op = "multitask_distill_loss";
  expect_rows(op, "logits of task 1", logits1);
  expect_rows(op, "logits of task 2", logits2);
  expect_with(op, logits1, "logits of task 2", logits2);
  check(logits1.shape()[0] == logits2.shape()[0], "{}: logits {} and {} have different numbers of rows", op, logits1.shape(),
        logits2.shape());
  expect_labels(op, logits1, labels1);
  expect_labels(op, logits2, labels2);
  check(teacher1.defined() == teacher2.defined(), "{}: a teacher for one task only", op);
  if (teacher1.defined()) {
    expect_teacher(op, logits1, teacher1);
    expect_teacher(op, logits2, teacher2);
    check(!wants_grad(teacher1) && !wants_grad(teacher2), "{}: the teacher takes no gradient here; detach its logits", op);
  }
  check(options.tau > 0.0f, "{}: temperature {} must be positive", op, options.tau);
  const MultitaskShape shape{logits1.shape()[0], logits1.shape()[1], logits2.shape()[1], options.alpha, options.lambda, options.tau};
  const bool graph = wants_grad(logits1) || wants_grad(logits2);
  const Tensor values = Tensor::empty(logits1.context(), {multitask_loss_count});
  const Tensor d1 = graph ? Tensor::empty_like(logits1) : Tensor(), d2 = graph ? Tensor::empty_like(logits2) : Tensor();
  kernel<MultitaskDistillKernels>(logits1.device())
      .forward(logits1.stream(), shape, logits1.data(), logits2.data(), data_or_null(teacher1), data_or_null(teacher2), labels1.ints(),
               labels2.ints(), values.mutable_data(), data_of(d1), data_of(d2));
  const Tensor total = values.alias(loss_total, Shape{});
  record_scaled(op, total, {logits1, logits2}, d1, d2);
  return {total, values};
}

Tensor l2_normalize(const Tensor& x) {
  expect_rows("l2_normalize", "input", x);
  const std::int64_t rows = x.shape()[0], columns = x.shape()[1];
  const Tensor y = Tensor::empty_like(x), norm = Tensor::empty(x.context(), {rows});
  kernel<L2NormalizeKernels>(x.device()).forward(x.stream(), rows, columns, x.data(), norm.mutable_data(), y.mutable_data());
  autograd::record("l2_normalize", y, {x}, [=, saved_y = Saved(y), saved_norm = Saved(norm)](const Tensor& dy, Node& node) {
    Tensor dx = Tensor::empty_like(dy);
    kernel<L2NormalizeKernels>(dy.device())
        .backward(dy.stream(), rows, columns, saved_norm.get().data(), saved_y.get().data(), dy.data(), dx.mutable_data());
    node.give(0, std::move(dx));
  });
  return y;
}

void count_confusion(const Tensor& logits, const Tensor& labels, const Tensor& counts) {
  expect_rows("count_confusion", "logits", logits);
  expect_labels("count_confusion", logits, labels);
  expect("count_confusion", "counts", counts, DType::i32);
  expect_with("count_confusion", logits, "counts", counts, DType::i32);
  const std::int64_t classes = logits.shape()[1];
  check(counts.shape() == Shape{classes, classes}, "count_confusion: counts {} for logits {}", counts.shape(), logits.shape());
  kernel<ConfusionKernels>(logits.device())
      .add(logits.stream(), logits.shape()[0], classes, logits.data(), labels.ints(), counts.mutable_ints());
}

}  // namespace retort::ops
