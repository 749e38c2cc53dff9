// AnpoNet (paper section 4.2.3): convolution and batch normalisation in front, an LSTM over what they leave of the time axis.
//
//   (N, 1, axes, L) viewed as (N, axes, 1, L): Conv 1x9 -> 64 BN ReLU Pool 1x2/2 -> (L - 8) / 2 steps of 64 numbers
//   -> LSTM 128 -> last state -> Linear 256 ReLU -> two heads; dropout before the heads
#pragma once

#include "retort/nn/conv_block.h"
#include "retort/nn/models/recurrent_net.h"

namespace retort::nn {

class AnpoNet final : public SharedHeads {
 public:
  AnpoNet(Context& context, const ModelSpec& spec);

  Tensor features(const Tensor& windows) const override;
  std::vector<LayerSummary> summary() const override;

 private:
  std::int64_t steps_;  ///< of the LSTM
  Conv2d conv_;
  BatchNorm2d bn_;
  RecurrentOptions options_;
  Recurrent rnn_;
};

}  // namespace retort::nn
