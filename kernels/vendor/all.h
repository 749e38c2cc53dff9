// The registration functions of this folder's twins, one a file.
#pragma once

namespace retort::vendor {

void register_conv2d_cudnn();
void register_batch_norm_cudnn();
void register_softmax_cudnn();
void register_max_pool2d_cudnn();

void register_matmul_cublas();
void register_linear_cublaslt();
void register_linear_by_shape();

}  // namespace retort::vendor
