// Softmax and the losses on it. Rows are dealt out in blocks of fixed size; each block adds up its own losses, and the blocks'
// sums are added in order. A loss has the softmax of a whole block worked out at once: a row alone has often fewer classes than a
// vector has lanes, and would take one scalar exponential after the other.
#include "retort/kernels/softmax.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace retort::eigen {
namespace {

constexpr std::int64_t block_rows = 32;

std::int64_t blocks(std::int64_t rows) { return (rows + block_rows - 1) / block_rows; }

/// Of a block of rows: log softmax(x * scale) = (x - largest) * scale - log_sum, and softmax(x * scale).
class Softmax {
 public:
  static std::int64_t memory(std::int64_t columns) { return 2 * block_rows * columns; }  ///< floats

  Softmax(const float* x, std::int64_t rows, std::int64_t columns, float scale, float* memory)
      : columns_(columns), log_(memory), value_(memory + block_rows * columns) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const ConstArray from = array(x + i * columns, columns);
      array(log_ + i * columns, columns) = (from - from.maxCoeff()) * scale;
    }
    array(value_, rows * columns) = array(log_, rows * columns).exp();
    Eigen::Array<float, block_rows, 1> sums = Eigen::Array<float, block_rows, 1>::Ones();
    for (std::int64_t i = 0; i < rows; ++i) sums[i] = value(i).sum();
    const Eigen::Array<float, block_rows, 1> logs = sums.log();
    for (std::int64_t i = 0; i < rows; ++i) {
      array(log_ + i * columns, columns) -= logs[i];
      array(value_ + i * columns, columns) /= sums[i];
    }
  }
  ConstArray log(std::int64_t row) const { return {log_ + row * columns_, columns_}; }
  ConstArray value(std::int64_t row) const { return {value_ + row * columns_, columns_}; }

 private:
  std::int64_t columns_;
  float *log_, *value_;
};

void log_softmax_forward(Stream& stream, std::int64_t rows, std::int64_t columns, const float* x, float* y) {
  stream.threads().for_ranges(rows, block_rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const ConstArray row = array(x + i * columns, columns);
      const float largest = row.maxCoeff();
      // Kept apart from `largest`: their sum would round away digits when the logits are large.
      const float log_sum = std::log((row - largest).exp().sum());
      array(y + i * columns, columns) = (row - largest) - log_sum;
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
float cross_entropy_row(const Softmax& softmax, std::int64_t row, std::int32_t label, const Gradient& gradient) {
  const ConstArray p = softmax.value(row);
  const bool valid = label >= 0 && label < p.size();
  if (!valid) {
    gradient.write(Eigen::ArrayXf::Zero(p.size()));
    return std::numeric_limits<float>::quiet_NaN();
  }
  gradient.write(p);
  if (gradient.row != nullptr) gradient.row[label] -= gradient.scale;
  return -softmax.log(row)[label];
}

/// sum_k pT (log pT - log pS) with p = softmax(z / tau); gradients pS - pT and pT (log pT - log pS - KL).
float distill_kl_row(const Softmax& student, const Softmax& teacher, std::int64_t row, const Gradient& to_student,
                     const Gradient& to_teacher) {
  const ConstArray ps = student.value(row), pt = teacher.value(row);
  const auto ratio = teacher.log(row) - student.log(row);
  const float kl = (pt * ratio).sum();
  to_student.write(ps - pt);
  to_teacher.write(pt * (ratio - kl));
  return kl;
}

/// Sums of one block, or of all. What lies behind them is aligned for any vector, and no two threads write one line.
struct alignas(64) Sums {
  double ce1 = 0, ce2 = 0, kl1 = 0, kl2 = 0;
};

/// block(begin, end, memory, sums) for blocks of rows, each with memory for two softmaxes; returns the sum of their sums.
template <class Block>
Sums sum_over_blocks(Stream& stream, std::int64_t rows, std::int64_t columns, Block&& block) {
  ThreadTeam& team = stream.threads();
  const std::int64_t room = 2 * Softmax::memory(columns);  // one a thread
  const auto count = static_cast<std::size_t>(blocks(rows)), floats = static_cast<std::size_t>(team.size() * room);
  auto* partial = static_cast<Sums*>(stream.scratch(count * sizeof(Sums) + floats * sizeof(float)));
  auto* memory = reinterpret_cast<float*>(partial + count);
  team.run(blocks(rows), [&](std::int64_t i, int thread) {
    partial[i] = {};
    block(i * block_rows, std::min((i + 1) * block_rows, rows), memory + thread * room, partial[i]);
  });
  Sums total;
  for (std::int64_t i = 0; i < blocks(rows); ++i) {
    total.ce1 += partial[i].ce1, total.ce2 += partial[i].ce2;
    total.kl1 += partial[i].kl1, total.kl2 += partial[i].kl2;
  }
  return total;
}

float* row_of(float* matrix, std::int64_t i, std::int64_t columns) { return matrix != nullptr ? matrix + i * columns : nullptr; }

void cross_entropy(Stream& stream, std::int64_t rows, std::int64_t columns, const float* logits, const std::int32_t* labels,
                   float* loss, float* dlogits) {
  const float scale = 1 / static_cast<float>(rows);
  const Sums sums = sum_over_blocks(stream, rows, columns, [&](std::int64_t begin, std::int64_t end, float* memory, Sums& sum) {
    const Softmax softmax(logits + begin * columns, end - begin, columns, 1, memory);
    for (std::int64_t i = begin; i < end; ++i)
      sum.ce1 += cross_entropy_row(softmax, i - begin, labels[i], {row_of(dlogits, i, columns), scale});
  });
  loss[0] = static_cast<float>(sums.ce1 / static_cast<double>(rows));
}

void distill_kl(Stream& stream, std::int64_t rows, std::int64_t columns, float tau, const float* student, const float* teacher,
                float* loss, float* dstudent, float* dteacher) {
  const float scale = tau / static_cast<float>(rows);
  const Sums sums = sum_over_blocks(stream, rows, columns, [&](std::int64_t begin, std::int64_t end, float* memory, Sums& sum) {
    const Softmax of_student(student + begin * columns, end - begin, columns, 1 / tau, memory);
    const Softmax of_teacher(teacher + begin * columns, end - begin, columns, 1 / tau, memory + Softmax::memory(columns));
    for (std::int64_t i = begin; i < end; ++i)
      sum.kl1 += distill_kl_row(of_student, of_teacher, i - begin, {row_of(dstudent, i, columns), scale},
                                {row_of(dteacher, i, columns), scale});
  });
  loss[0] = static_cast<float>(tau * tau * sums.kl1 / static_cast<double>(rows));
}

/// One task's share of the fused loss.
struct TaskLoss {
  std::int64_t columns;
  const float *logits, *teacher;
  const std::int32_t* labels;
  float* dlogits;
  float ce_scale, kl_scale;  ///< factors of the gradients

  void add_rows(std::int64_t begin, std::int64_t end, float tau, float* memory, double& ce, double& kl) const {
    const std::int64_t rows = end - begin, first = begin * columns;
    const Softmax softmax(logits + first, rows, columns, 1, memory);
    for (std::int64_t i = begin; i < end; ++i)
      ce += cross_entropy_row(softmax, i - begin, labels[i], {row_of(dlogits, i, columns), ce_scale});
    if (teacher == nullptr) return;
    const Softmax of_student(logits + first, rows, columns, 1 / tau, memory);
    const Softmax of_teacher(teacher + first, rows, columns, 1 / tau, memory + Softmax::memory(columns));
    for (std::int64_t i = begin; i < end; ++i)
      kl += distill_kl_row(of_student, of_teacher, i - begin, {row_of(dlogits, i, columns), kl_scale, true}, {nullptr, 0.0f});
  }
};

void multitask(Stream& stream, const MultitaskShape& z, const float* logits1, const float* logits2, const float* teacher1,
               const float* teacher2, const std::int32_t* labels1, const std::int32_t* labels2, float* losses, float* dlogits1,
               float* dlogits2) {
  const float per_row = 1 / static_cast<float>(z.rows), rest = 1 - z.alpha, kl = z.lambda * z.tau;
  const TaskLoss task1{z.classes1, logits1, teacher1, labels1, dlogits1, z.alpha * per_row, z.alpha * kl * per_row};
  const TaskLoss task2{z.classes2, logits2, teacher2, labels2, dlogits2, rest * per_row, rest * kl * per_row};
  const std::int64_t columns = std::max(z.classes1, z.classes2);
  const Sums total =
      sum_over_blocks(stream, z.rows, columns, [&](std::int64_t begin, std::int64_t end, float* memory, Sums& sums) {
        task1.add_rows(begin, end, z.tau, memory, sums.ce1, sums.kl1);
        task2.add_rows(begin, end, z.tau, memory, sums.ce2, sums.kl2);
      });
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
