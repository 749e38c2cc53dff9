// MTL-net (paper section 3.3 and figure 2; sizes from the authors' released code):
//
//   Conv 1x9 -> 32 [BN] ReLU Pool 1x2/2 -> Conv 1x9 -> 64 [BN] ReLU Pool 1x2/2 -> Linear 1024 ReLU -> Linear 512 ReLU -> two heads
//
// The kernels are one high and the pools stride two in both directions, so with the three axes as *rows* only the first row ever
// reaches the classifier. With the axes as *channels*, (N, 1, 3, L) viewed as (N, 3, 1, L), all of them do.
#pragma once

#include "retort/nn/conv_block.h"
#include "retort/nn/linear.h"
#include "retort/nn/models/model.h"

#include <optional>

namespace retort::nn {

enum class Axes { rows, channels };

struct MtlNetForm {
  bool batch_norm = true;
  Axes axes = Axes::channels;
};

class MtlNet final : public TwoTaskModel {
 public:
  MtlNet(Context& context, const ModelSpec& spec, const MtlNetForm& form);

  Tensor features(const Tensor& windows) const override;
  Logits heads(const Tensor& features) const override;
  std::int64_t feature_count() const override { return hidden2; }
  std::array<std::int64_t, 2> outputs() const override { return spec_.classes; }
  std::vector<LayerSummary> summary() const override;

 private:
  static constexpr std::int64_t kernel = 9, channels1 = 32, channels2 = 64, hidden1 = 1024, hidden2 = 512;
  /// Sizes of the planes on the way, from the window's.
  struct Geometry {
    std::int64_t in_channels, rows, length;  ///< what conv1 sees
    std::int64_t conv1, pool1_rows, pool1, conv2, pool2_rows, pool2;
    std::int64_t flat() const { return channels2 * pool2_rows * pool2; }
  };
  static Geometry geometry(const Shape& window, Axes axes);
  std::unique_ptr<Linear> make_head(Context& context, std::int64_t classes, const char* name, Random& random);

  ModelSpec spec_;
  MtlNetForm form_;
  Geometry sizes_;
  Random random_;  ///< of the initial weights, used up during construction
  Conv2d conv1_;
  std::optional<BatchNorm2d> bn1_;
  Conv2d conv2_;
  std::optional<BatchNorm2d> bn2_;
  Linear fc1_, fc2_;
  std::unique_ptr<Linear> head1_, head2_;
};

}  // namespace retort::nn
