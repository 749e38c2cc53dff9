// The losses of kernels/softmax.h as loops, in double.
#pragma once

#include "retort/kernels/softmax.h"

#include <cmath>
#include <limits>

namespace retort::ref {

/// log sum_j exp(x_j * scale), shifted by the maximum so that nothing overflows.
template <class T>
double log_sum_exp(std::int64_t columns, const T* x, double scale = 1) {
  double largest = x[0] * scale, sum = 0;
  for (std::int64_t j = 1; j < columns; ++j) largest = std::max(largest, x[j] * scale);
  for (std::int64_t j = 0; j < columns; ++j) sum += std::exp(x[j] * scale - largest);
  return largest + std::log(sum);
}

template <class T>
void log_softmax_forward(Stream&, std::int64_t rows, std::int64_t columns, const T* x, T* y) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const double normaliser = log_sum_exp(columns, x + i * columns);
    for (std::int64_t j = 0; j < columns; ++j) y[i * columns + j] = T(x[i * columns + j] - normaliser);
  }
}

template <class T>
void log_softmax_backward(Stream&, std::int64_t rows, std::int64_t columns, const T* y, const T* dy, T* dx) {
  for (std::int64_t i = 0; i < rows; ++i) {
    double sum = 0;
    for (std::int64_t j = 0; j < columns; ++j) sum += dy[i * columns + j];
    for (std::int64_t j = i * columns; j < (i + 1) * columns; ++j) dx[j] = T(dy[j] - std::exp(double(y[j])) * sum);
  }
}

/// Mean cross-entropy; adds scale * its gradient to dlogits (null: not wanted).
template <class T>
double add_cross_entropy(std::int64_t rows, std::int64_t columns, const T* logits, const std::int32_t* labels, double scale,
                         T* dlogits) {
  double loss = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* z = logits + i * columns;
    const std::int32_t label = labels[i];
    const bool valid = label >= 0 && label < columns;
    const double normaliser = log_sum_exp(columns, z);
    loss += valid ? normaliser - z[label] : std::numeric_limits<double>::quiet_NaN();
    if (dlogits == nullptr || !valid) continue;
    for (std::int64_t j = 0; j < columns; ++j)
      dlogits[i * columns + j] += T(scale * (std::exp(z[j] - normaliser) - (j == label ? 1 : 0)) / double(rows));
  }
  return loss / double(rows);
}

/// KL_tau(T || S), paper eq. 2; adds scale * its gradients to dstudent and dteacher (null: not wanted).
template <class T>
double add_distill_kl(std::int64_t rows, std::int64_t columns, double tau, const T* student, const T* teacher, double scale,
                      T* dstudent, T* dteacher) {
  double loss = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const T *s = student + i * columns, *t = teacher + i * columns;
    const double student_norm = log_sum_exp(columns, s, 1 / tau), teacher_norm = log_sum_exp(columns, t, 1 / tau);
    const auto log_ps = [&](std::int64_t j) { return s[j] / tau - student_norm; };
    const auto log_pt = [&](std::int64_t j) { return t[j] / tau - teacher_norm; };
    double kl = 0;
    for (std::int64_t j = 0; j < columns; ++j) kl += std::exp(log_pt(j)) * (log_pt(j) - log_ps(j));
    loss += kl;
    for (std::int64_t j = 0; j < columns; ++j) {
      const double ps = std::exp(log_ps(j)), pt = std::exp(log_pt(j)), factor = scale * tau / double(rows);
      if (dstudent != nullptr) dstudent[i * columns + j] += T(factor * (ps - pt));
      if (dteacher != nullptr) dteacher[i * columns + j] += T(factor * pt * (log_pt(j) - log_ps(j) - kl));
    }
  }
  return tau * tau * loss / double(rows);
}

template <class T>
void clear(std::int64_t n, T* values) {
  for (std::int64_t i = 0; values != nullptr && i < n; ++i) values[i] = T(0);
}

template <class T>
void cross_entropy_forward(Stream&, std::int64_t rows, std::int64_t columns, const T* logits, const std::int32_t* labels, T* loss,
                           T* dlogits) {
  clear(rows * columns, dlogits);
  loss[0] = T(add_cross_entropy(rows, columns, logits, labels, 1.0, dlogits));
}

template <class T>
void distill_kl_forward(Stream&, std::int64_t rows, std::int64_t columns, float tau, const T* student, const T* teacher, T* loss,
                        T* dstudent, T* dteacher) {
  clear(rows * columns, dstudent);
  clear(rows * columns, dteacher);
  loss[0] = T(add_distill_kl(rows, columns, tau, student, teacher, 1.0, dstudent, dteacher));
}

template <class T>
void multitask_distill_loss_forward(Stream&, const MultitaskShape& z, const T* logits1, const T* logits2, const T* teacher1,
                                    const T* teacher2, const std::int32_t* labels1, const std::int32_t* labels2, T* losses,
                                    T* dlogits1, T* dlogits2) {
  const double alpha = z.alpha, beta = 1 - alpha, lambda = z.lambda;
  clear(z.rows * z.classes1, dlogits1);
  clear(z.rows * z.classes2, dlogits2);
  const double ce1 = add_cross_entropy(z.rows, z.classes1, logits1, labels1, alpha, dlogits1);
  const double ce2 = add_cross_entropy(z.rows, z.classes2, logits2, labels2, beta, dlogits2);
  double kl1 = 0, kl2 = 0;
  if (teacher1 != nullptr) {
    T* const no_gradient = nullptr;
    kl1 = add_distill_kl(z.rows, z.classes1, z.tau, logits1, teacher1, alpha * lambda, dlogits1, no_gradient);
    kl2 = add_distill_kl(z.rows, z.classes2, z.tau, logits2, teacher2, beta * lambda, dlogits2, no_gradient);
  }
  losses[loss_ce1] = T(ce1);
  losses[loss_ce2] = T(ce2);
  losses[loss_kl1] = T(kl1);
  losses[loss_kl2] = T(kl2);
  losses[loss_total] = T(alpha * (ce1 + lambda * kl1) + beta * (ce2 + lambda * kl2));
}

}  // namespace retort::ref
