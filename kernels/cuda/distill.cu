// The distillation losses: KL_tau between teacher and student, and the whole two-task loss of Smooth-Distill (paper eq. 2 and 5),
// each with all its gradients in one launch. Contract and formulas: kernels/softmax.h. One warp a row (of either task), three
// log-softmax a row: of z, of z / tau and of the teacher's z / tau.
#include "retort/kernels/cuda/all.h"
#include "retort/kernels/cuda/losses.cuh"
#include "retort/kernels/registry.h"
#include "retort/kernels/softmax.h"

namespace retort {
namespace {

/// d + exp(-d) - 1, without the cancellation for small d.
__device__ inline float divergence_term(float d) {
  if (fabsf(d) > 0.25f) return d + expm1f(-d);
  return d * d * (1.0f / 2 + d * (-1.0f / 6 + d * (1.0f / 24 + d * (-1.0f / 120 + d * (1.0f / 720 - d / 5040)))));
}

/// sum_j pT (log pT - log pS) of one row, p = softmax(z / tau). As pT and pS both sum to 1 it is also
/// sum_j pT (d + exp(-d) - 1), d = log pT - log pS, whose terms are never negative: nothing cancels when the two are close.
__device__ inline float row_kl(std::int64_t columns, const float* student, const float* teacher, const LogSoftmax& of_student,
                               const LogSoftmax& of_teacher, int lane) {
  float kl = 0.0f;
  for (std::int64_t j = lane; j < columns; j += 32) {
    const float log_ps = of_student(student[j]), log_pt = of_teacher(teacher[j]), pt = expf(log_pt);
    // pT exp(-d) is pS, which may be large where pT is 0.
    kl += pt > 1e-30f ? pt * divergence_term(log_pt - log_ps) : expf(log_ps);
  }
  return warp_sum(kl);
}

/// student, teacher: (rows, columns); dstudent, dteacher: the same or null; loss: (1).
__global__ void __launch_bounds__(loss_threads)
    distill_kl_kernel(std::int64_t rows, std::int64_t columns, float tau, const float* student, const float* teacher,
                      LossSums sums, float* loss, float* dstudent, float* dteacher) {
  const std::int64_t warps = static_cast<std::int64_t>(gridDim.x) * loss_warps;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float inverse_tau = 1.0f / tau, factor = tau / static_cast<float>(rows);
  float mine[1] = {0.0f};
  for (std::int64_t row = global_thread() / 32; row < rows; row += warps) {
    const float *s = student + row * columns, *t = teacher + row * columns;
    const LogSoftmax of_student = row_log_softmax(columns, s, inverse_tau, lane);
    const LogSoftmax of_teacher = row_log_softmax(columns, t, inverse_tau, lane);
    const float kl = row_kl(columns, s, t, of_student, of_teacher, lane);
    mine[0] += kl;
    for (std::int64_t j = lane; j < columns; j += 32) {
      const float log_ps = of_student(s[j]), log_pt = of_teacher(t[j]), pt = expf(log_pt);
      if (dstudent != nullptr) dstudent[row * columns + j] = factor * (expf(log_ps) - pt);
      if (dteacher != nullptr) dteacher[row * columns + j] = factor * pt * (log_pt - log_ps - kl);
    }
  }
  __shared__ float total[1];
  if (add_up(sums, mine, total) && threadIdx.x == 0) *loss = total[0] * tau * factor;
}

/// One task: logits, teacher, dlogits: (rows, classes); teacher and dlogits may be null. labels: (rows).
struct Task {
  std::int64_t classes;
  const float *logits, *teacher;
  const std::int32_t* labels;
  float* dlogits;
  float weight;  // alpha or 1 - alpha
};

struct RowLosses {
  float cross_entropy, kl;
};

__device__ inline RowLosses task_row(const Task task, std::int64_t row, float lambda, float tau, float inverse_rows, int lane) {
  const std::int64_t classes = task.classes;
  const float* z = task.logits + row * classes;
  const std::int32_t label = task.labels[row];
  const LogSoftmax log_softmax = row_log_softmax(classes, z, 1.0f, lane);
  const bool valid = label >= 0 && label < classes, distilled = task.teacher != nullptr;
  const float* t = distilled ? task.teacher + row * classes : z;
  const float inverse_tau = 1.0f / tau;
  LogSoftmax of_student{}, of_teacher{};
  float kl = 0.0f;
  if (distilled) {
    of_student = row_log_softmax(classes, z, inverse_tau, lane);
    of_teacher = row_log_softmax(classes, t, inverse_tau, lane);
    kl = row_kl(classes, z, t, of_student, of_teacher, lane);
  }
  for (std::int64_t j = lane; task.dlogits != nullptr && j < classes; j += 32) {
    float gradient = valid ? expf(log_softmax(z[j])) - (j == label ? 1.0f : 0.0f) : 0.0f;
    if (distilled) gradient += lambda * tau * (expf(of_student(z[j])) - expf(of_teacher(t[j])));
    task.dlogits[row * classes + j] = task.weight * inverse_rows * gradient;
  }
  return {row_cross_entropy(classes, z, log_softmax, label), kl};
}

/// A job is a row of a task: jobs 0 .. rows-1 are the first task's. losses: (5), see MultitaskLoss.
__global__ void __launch_bounds__(loss_threads) multitask_kernel(std::int64_t rows, const Task task1, const Task task2,
                                                                 float lambda, float tau, LossSums sums, float* losses) {
  const std::int64_t warps = static_cast<std::int64_t>(gridDim.x) * loss_warps;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float inverse_rows = 1.0f / static_cast<float>(rows);
  float mine[4] = {};  // ce1, ce2, kl1, kl2
  for (std::int64_t job = global_thread() / 32; job < 2 * rows; job += warps) {
    const bool second = job >= rows;
    const RowLosses row = task_row(second ? task2 : task1, second ? job - rows : job, lambda, tau, inverse_rows, lane);
    mine[0] += second ? 0.0f : row.cross_entropy;
    mine[1] += second ? row.cross_entropy : 0.0f;
    mine[2] += second ? 0.0f : row.kl;
    mine[3] += second ? row.kl : 0.0f;
  }
  __shared__ float total[4];
  if (!add_up(sums, mine, total) || threadIdx.x != 0) return;
  const float ce1 = total[0] * inverse_rows, ce2 = total[1] * inverse_rows;
  const float kl1 = tau * tau * total[2] * inverse_rows, kl2 = tau * tau * total[3] * inverse_rows;
  losses[loss_ce1] = ce1;
  losses[loss_ce2] = ce2;
  losses[loss_kl1] = kl1;
  losses[loss_kl2] = kl2;
  losses[loss_total] = task1.weight * (ce1 + lambda * kl1) + task2.weight * (ce2 + lambda * kl2);
}

void distill_kl(Stream& stream, std::int64_t rows, std::int64_t columns, float tau, const float* student, const float* teacher,
                float* loss, float* dstudent, float* dteacher) {
  const unsigned blocks = loss_blocks(rows);
  launch({stream, "distill_kl.forward", dim3(blocks), dim3(loss_threads)}, distill_kl_kernel, rows, columns, tau, student,
         teacher, loss_sums(stream, blocks, 1), loss, dstudent, dteacher);
}

void multitask(Stream& stream, const MultitaskShape& s, const float* logits1, const float* logits2, const float* teacher1,
               const float* teacher2, const std::int32_t* labels1, const std::int32_t* labels2, float* losses, float* dlogits1,
               float* dlogits2) {
  const Task task1{s.classes1, logits1, teacher1, labels1, dlogits1, s.alpha};
  const Task task2{s.classes2, logits2, teacher2, labels2, dlogits2, 1.0f - s.alpha};
  const unsigned blocks = loss_blocks(2 * s.rows);
  launch({stream, "multitask_distill_loss.forward", dim3(blocks), dim3(loss_threads)}, multitask_kernel, s.rows, task1, task2,
         s.lambda, s.tau, loss_sums(stream, blocks, 4), losses);
}

}  // namespace

template <>
void register_distill<this_device>() {
  KernelTable<DistillKlKernels>::instance().add(this_device, "cuda", 10, {distill_kl});
  KernelTable<MultitaskDistillKernels>::instance().add(this_device, "cuda", 10, {multitask});
}

}  // namespace retort
