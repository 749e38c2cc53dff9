// Softmax and the losses on it. Rows are dealt out in blocks of fixed size; each block adds up its own losses, and the blocks'
// sums are added in order.
#include "retort/kernels/softmax.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace retort::eigen {
namespace {

constexpr std::int64_t block_rows = 128;

std::int64_t blocks(std::int64_t rows) { return (rows + block_rows - 1) / block_rows; }

/// log softmax(x * scale) = (x - largest) * scale - log_sum. The two are kept apart: their sum would round away digits of log_sum
/// when the logits are large.
struct LogSoftmax {
  float largest, log_sum, scale;

  explicit LogSoftmax(ConstArray x, float by = 1) : largest(x.maxCoeff()), scale(by) {
    log_sum = std::log(((x - largest) * scale).exp().sum());
  }
  auto operator()(ConstArray x) const { return (x - largest) * scale - log_sum; }
  float operator()(float x) const { return (x - largest) * scale - log_sum; }
};

void log_softmax_forward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* x, float* y) {
  stream.threads().for_ranges(rows, block_rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const ConstArray row = array(x + i * columns, columns);
      array(y + i * columns, columns) = LogSoftmax(row)(row);
    }
  });
}

void log_softmax_backward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* y, const float* dy, float* dx) {
  stream.threads().for_ranges(rows, block_rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const ConstArray g = array(dy + i * columns, columns);
      array(dx + i * columns, columns) = g - array(y + i * columns, columns).exp() * g.sum();
    }
  });
}

/// Where a loss writes its gradient: nowhere, over what is there, or on top of it.
struct Gradient {
  float* row;  ///< null: not wanted
  float scale;
  bool add = false;

  template <class Expression>
  void write(const Expression& expression) const {
    if (row == nullptr) return;
    Array out = array(row, expression.size());
    if (add)
      out += expression * scale;
    else
      out = expression * scale;
  }
};

/// -log softmax(z)[label]; gradient softmax(z) - onehot(label). NaN and no gradient for a label out of range.
float cross_entropy_row(ConstArray z, std::int32_t label, const Gradient& gradient) {
  const bool valid = label >= 0 && label < z.size();
  if (!valid) {
    gradient.write(Eigen::ArrayXf::Zero(z.size()));
    return std::numeric_limits<float>::quiet_NaN();
  }
  const LogSoftmax log_softmax(z);
  gradient.write(log_softmax(z).exp());
  if (gradient.row != nullptr) gradient.row[label] -= gradient.scale;
  return -log_softmax(z[label]);
}

/// sum_k pT (log pT - log pS) with p = softmax(z / tau); gradients pS - pT and pT (log pT - log pS - KL).
float distill_kl_row(ConstArray student, ConstArray teacher, float tau, const Gradient& to_student, const Gradient& to_teacher) {
  const LogSoftmax of_student(student, 1 / tau), of_teacher(teacher, 1 / tau);
  const auto log_ps = of_student(student);
  const auto log_pt = of_teacher(teacher);
  const float kl = (log_pt.exp() * (log_pt - log_ps)).sum();
  to_student.write(log_ps.exp() - log_pt.exp());
  to_teacher.write(log_pt.exp() * (log_pt - log_ps - kl));
  return kl;
}

/// Runs row(i) over blocks of rows and returns the sum of what it returned.
template <class Row>
double sum_over_rows(Stream& stream, std::int64_t rows, Row&& row) {
  auto* partial = static_cast<double*>(stream.scratch(static_cast<std::size_t>(blocks(rows)) * sizeof(double)));
  stream.threads().for_ranges(rows, block_rows, [&](std::int64_t begin, std::int64_t end) {
    double sum = 0;
    for (std::int64_t i = begin; i < end; ++i) sum += row(i);
    partial[begin / block_rows] = sum;
  });
  double total = 0;
  for (std::int64_t i = 0; i < blocks(rows); ++i) total += partial[i];
  return total;
}

float* row_of(float* matrix, std::int64_t i, std::int64_t columns) { return matrix != nullptr ? matrix + i * columns : nullptr; }

void cross_entropy(Stream& stream, std::int64_t rows, std::int64_t columns, const float* logits, const std::int32_t* labels,
                   float* loss, float* dlogits) {
  const float scale = 1 / static_cast<float>(rows);
  const double sum = sum_over_rows(stream, rows, [&](std::int64_t i) {
    return cross_entropy_row(array(logits + i * columns, columns), labels[i], {row_of(dlogits, i, columns), scale});
  });
  loss[0] = static_cast<float>(sum / static_cast<double>(rows));
}

void distill_kl(Stream& stream, std::int64_t rows, std::int64_t columns, float tau, const float* student, const float* teacher,
                float* loss, float* dstudent, float* dteacher) {
  const float scale = tau / static_cast<float>(rows);
  const double sum = sum_over_rows(stream, rows, [&](std::int64_t i) {
    return distill_kl_row(array(student + i * columns, columns), array(teacher + i * columns, columns), tau,
                          {row_of(dstudent, i, columns), scale}, {row_of(dteacher, i, columns), scale});
  });
  loss[0] = static_cast<float>(tau * tau * sum / static_cast<double>(rows));
}

/// One task's share of the fused loss.
struct TaskLoss {
  std::int64_t columns;
  const float *logits, *teacher;
  const std::int32_t* labels;
  float* dlogits;
  float ce_scale, kl_scale;  ///< factors of the gradients

  void add_rows(std::int64_t begin, std::int64_t end, float tau, double& ce, double& kl) const {
    for (std::int64_t i = begin; i < end; ++i) {
      const ConstArray z = array(logits + i * columns, columns);
      float* gradient = row_of(dlogits, i, columns);
      ce += cross_entropy_row(z, labels[i], {gradient, ce_scale});
      if (teacher == nullptr) continue;
      kl += distill_kl_row(z, array(teacher + i * columns, columns), tau, {gradient, kl_scale, true}, {nullptr, 0.0f});
    }
  }
};

void multitask(Stream& stream, const MultitaskShape& z, const float* logits1, const float* logits2, const float* teacher1,
               const float* teacher2, const std::int32_t* labels1, const std::int32_t* labels2, float* losses, float* dlogits1,
               float* dlogits2) {
  const float per_row = 1 / static_cast<float>(z.rows), rest = 1 - z.alpha, kl = z.lambda * z.tau;
  const TaskLoss task1{z.classes1, logits1, teacher1, labels1, dlogits1, z.alpha * per_row, z.alpha * kl * per_row};
  const TaskLoss task2{z.classes2, logits2, teacher2, labels2, dlogits2, rest * per_row, rest * kl * per_row};
  struct Sums {
    double ce1 = 0, ce2 = 0, kl1 = 0, kl2 = 0;
  };
  auto* partial = static_cast<Sums*>(stream.scratch(static_cast<std::size_t>(blocks(z.rows)) * sizeof(Sums)));
  stream.threads().for_ranges(z.rows, block_rows, [&](std::int64_t begin, std::int64_t end) {
    Sums sums;
    task1.add_rows(begin, end, z.tau, sums.ce1, sums.kl1);
    task2.add_rows(begin, end, z.tau, sums.ce2, sums.kl2);
    partial[begin / block_rows] = sums;
  });
  Sums total;
  for (std::int64_t i = 0; i < blocks(z.rows); ++i) {
    total.ce1 += partial[i].ce1, total.ce2 += partial[i].ce2;
    total.kl1 += partial[i].kl1, total.kl2 += partial[i].kl2;
  }
  const double rows = static_cast<double>(z.rows), square = static_cast<double>(z.tau) * z.tau;
  const double ce1 = total.ce1 / rows, ce2 = total.ce2 / rows, kl1 = square * total.kl1 / rows, kl2 = square * total.kl2 / rows;
  losses[loss_ce1] = static_cast<float>(ce1);
  losses[loss_ce2] = static_cast<float>(ce2);
  losses[loss_kl1] = static_cast<float>(kl1);
  losses[loss_kl2] = static_cast<float>(kl2);
  losses[loss_total] =
      static_cast<float>(z.alpha * (ce1 + z.lambda * kl1) + (1 - static_cast<double>(z.alpha)) * (ce2 + z.lambda * kl2));
}

}  // namespace

void register_softmax() {
  add(LogSoftmaxKernels{log_softmax_forward, log_softmax_backward});
  add(CrossEntropyKernels{cross_entropy});
  add(DistillKlKernels{distill_kl});
  add(MultitaskDistillKernels{multitask});
}

}  // namespace retort::eigen
