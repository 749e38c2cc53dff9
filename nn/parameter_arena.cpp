#include "retort/nn/parameter_arena.h"

namespace retort::nn {

namespace {

constexpr std::int64_t large = 1 << 15;  // elements whose clearing costs more than starting a kernel
constexpr std::int64_t alignment = 16;   // floats: one cache line, and four float4

std::int64_t padded(const Tensor& tensor) { return (tensor.count() + alignment - 1) / alignment * alignment; }

Tensor adopt(Context& context, const std::vector<NamedTensor>& tensors) {
  std::int64_t total = 0;
  for (const auto& named : tensors) total += padded(named.tensor);
  if (total == 0) return {};
  const Tensor flat = Tensor::zeros(context, {total});
  std::int64_t offset = 0;
  for (const auto& named : tensors) {
    named.tensor.move_into(flat, offset);
    offset += padded(named.tensor);
  }
  return flat;
}

}  // namespace

ParameterArena::ParameterArena(Context& context, const Module& module, bool gradients) {
  const auto parameters = module.named_parameters();
  parameters_ = adopt(context, parameters);
  check(parameters_.defined(), "ParameterArena: the module has no parameters");
  buffers_ = adopt(context, module.named_buffers());
  if (!gradients) return;
  gradients_ = Tensor::zeros(context, parameters_.shape());
  std::int64_t offset = 0, cleared = 0;  // cleared: where what lies after the last large piece begins
  const auto clear_up_to = [&](std::int64_t end) {
    if (end == cleared) return;
    in_between_.push_back(gradients_.alias(cleared, {end - cleared}));
    part_ends_.push_back(end);
  };
  for (const auto& named : parameters) {
    const Tensor piece = gradients_.alias(offset, named.tensor.shape());
    named.tensor.set_grad(piece);
    if (piece.count() >= large) {
      clear_up_to(offset);
      large_.push_back(piece);
      cleared = offset + padded(piece);
      part_ends_.push_back(cleared);
    }
    offset += padded(named.tensor);
  }
  clear_up_to(offset);
}

const Tensor& ParameterArena::gradients() const {
  for (const Tensor& piece : large_) piece.data();
  return gradients_;
}

void ParameterArena::zero_gradients() const {
  for (const Tensor& piece : large_) piece.zero_later();
  for (const Tensor& piece : in_between_) piece.zero();
}

void ParameterArena::copy_from(const ParameterArena& other) const {
  parameters_.copy_from(other.parameters_);
  if (buffers_.defined()) buffers_.copy_from(other.buffers_);
}

}  // namespace retort::nn
