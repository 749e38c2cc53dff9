// kernels/batch_norm_pool.h as the two operations that it joins, with the plane between them.
#pragma once

#include "retort/kernels/batch_norm_pool.h"
#include "retort/kernels/ref/batch_norm.h"
#include "retort/kernels/ref/max_pool2d.h"

#include <vector>

namespace retort::ref {

/// The normalised plane, the same in both passes: from mean and invstd as they are stored.
template <class T>
std::vector<T> batch_norm_pool_plane(const BatchNormShape& z, const T* x, const T* gamma, const T* beta, const T* mean,
                                     const T* invstd) {
  std::vector<T> plane(static_cast<std::size_t>(z.n * z.c * z.spatial));
  for (std::int64_t c = 0; c < z.c; ++c) batch_norm_apply(z, c, mean[c], invstd[c], x, gamma, beta, plane.data());
  return plane;
}

template <class T>
void batch_norm_pool_forward_train(Stream& stream, const BatchNormPoolShape& z, const T* x, const T* gamma, const T* beta,
                                   T* running_mean, T* running_var, T* mean, T* invstd, T* y) {
  const BatchNormShape norm = z.norm();
  std::vector<T> unrounded(static_cast<std::size_t>(norm.n * norm.c * norm.spatial));
  batch_norm_forward_train(stream, norm, x, gamma, beta, running_mean, running_var, mean, invstd, unrounded.data());
  const std::vector<T> plane = batch_norm_pool_plane(norm, x, gamma, beta, mean, invstd);
  max_pool2d_forward<T>(stream, z.pool, plane.data(), y, nullptr);
}

template <class T>
void batch_norm_pool_backward_train(Stream& stream, const BatchNormPoolShape& z, const T* x, const T* gamma, const T* beta,
                                    const T* mean, const T* invstd, const T* dy, T* dx, T* dgamma, T* dbeta) {
  const BatchNormShape norm = z.norm();
  const std::vector<T> plane = batch_norm_pool_plane(norm, x, gamma, beta, mean, invstd);
  const auto outputs = static_cast<std::size_t>(z.pool.n * z.pool.c * z.pool.oh() * z.pool.ow());
  std::vector<T> y(outputs), gradient(plane.size());
  std::vector<std::int32_t> argmax(outputs);
  max_pool2d_forward<T>(stream, z.pool, plane.data(), y.data(), argmax.data());
  max_pool2d_backward<T>(stream, z.pool, argmax.data(), dy, gradient.data());
  batch_norm_backward_train<T>(stream, norm, x, gamma, mean, invstd, plane.data(), gradient.data(), dx, dgamma, dbeta);
}

}  // namespace retort::ref
