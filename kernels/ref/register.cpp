// The reference implementations under the name "ref": what everything else is compared with.
#include "retort/kernels/backends.h"
#include "retort/kernels/ref/batch.h"
#include "retort/kernels/ref/batch_norm.h"
#include "retort/kernels/ref/batch_norm_pool.h"
#include "retort/kernels/ref/confusion.h"
#include "retort/kernels/ref/conv2d.h"
#include "retort/kernels/ref/conv_block.h"
#include "retort/kernels/ref/copy.h"
#include "retort/kernels/ref/dropout.h"
#include "retort/kernels/ref/elementwise.h"
#include "retort/kernels/ref/linear.h"
#include "retort/kernels/ref/max_pool2d.h"
#include "retort/kernels/ref/normalize.h"
#include "retort/kernels/ref/optimizer.h"
#include "retort/kernels/ref/recurrent.h"
#include "retort/kernels/ref/reduce.h"
#include "retort/kernels/ref/softmax.h"
#include "retort/kernels/registry.h"

namespace retort {
namespace {

template <class Kernels>
void add(const Kernels& kernels) {
  KernelTable<Kernels>::instance().add(Device::cpu, "ref", 0, kernels);
}

}  // namespace

void register_ref_kernels() {
  add(Conv2dKernels{ref::conv2d_forward<float>, ref::conv2d_backward<float>});
  add(ConvBlockKernels{ref::conv_block_forward<float>});
  add(BatchNormKernels{ref::batch_norm_forward_train<float>, ref::batch_norm_forward_eval<float>,
                       ref::batch_norm_backward_train<float>, ref::batch_norm_backward_eval<float>});
  add(BatchNormPoolKernels{ref::batch_norm_pool_forward_train<float>, ref::batch_norm_pool_backward_train<float>});
  add(MaxPool2dKernels{ref::max_pool2d_forward<float>, ref::max_pool2d_backward<float>});
  add(LinearKernels{ref::linear_forward<float>, ref::linear_backward<float>});
  add(MatmulKernels{ref::matmul_forward<float>});
  add(UnaryKernels{ref::unary_forward<float>, ref::unary_backward<float>});
  add(BinaryKernels{ref::binary_forward<float>, ref::binary_backward<float>});
  add(ScaleKernels{ref::scale_forward<float>});
  add(ReduceKernels{ref::reduce_forward<float>, ref::reduce_backward<float>});
  add(LogSoftmaxKernels{ref::log_softmax_forward<float>, ref::log_softmax_backward<float>});
  add(CrossEntropyKernels{ref::cross_entropy_forward<float>});
  add(DistillKlKernels{ref::distill_kl_forward<float>});
  add(MultitaskDistillKernels{ref::multitask_distill_loss_forward<float>});
  add(L2NormalizeKernels{ref::l2_normalize_forward<float>, ref::l2_normalize_backward<float>});
  add(DropoutKernels{ref::dropout_apply<float>, ref::dropout_mask<float>});
  add(CopyKernels{ref::copy_strided<float>, ref::copy_gather<float>, ref::copy_gather_labels});
  add(BatchKernels{ref::batch_gather<float>, ref::batch_record<float>});
  add(ConfusionKernels{ref::confusion_add<float>});
  add(LstmKernels{ref::lstm_forward<float>, ref::lstm_backward<float>});
  add(GruKernels{ref::gru_forward<float>, ref::gru_backward<float>});
  add(PermuteKernels{ref::permute<float>});
  add(OptimizerKernels{ref::adam_ema<float>, ref::sgd<float>, ref::ema<float>, ref::advance});
}

}  // namespace retort
