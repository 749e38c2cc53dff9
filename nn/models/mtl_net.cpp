#include "retort/nn/models/mtl_net.h"

namespace retort::nn {

MtlNet::Geometry MtlNet::geometry(const Shape& window, Axes axes) {
  check(window.rank() == 3 && window[0] == 1, "mtl-net: a window has shape (1, axes, length), not {}", window);
  auto halved = [](std::int64_t size) { return size < 1 ? 0 : (size - 1) / 2 + 1; };  // kernel 1, stride 2
  Geometry g{};
  g.in_channels = axes == Axes::channels ? window[1] : 1;
  g.rows = axes == Axes::channels ? 1 : window[1];
  g.length = window[2];
  g.conv1 = g.length - kernel + 1;
  g.pool1_rows = halved(g.rows);
  g.pool1 = g.conv1 / 2;
  g.conv2 = g.pool1 - kernel + 1;
  g.pool2_rows = halved(g.pool1_rows);
  g.pool2 = g.conv2 / 2;
  check(g.rows > 0 && g.conv2 >= 2, "mtl-net: a window of {} is too short; the shortest has 28 samples", window);
  return g;
}

MtlNet::MtlNet(Context& context, const ModelSpec& spec, const MtlNetForm& form)
    : spec_(spec),
      form_(form),
      sizes_(geometry(spec.window, form.axes)),
      random_(spec.seed),
      conv1_(context, sizes_.in_channels, channels1, {1, kernel}, random_),
      conv2_(context, channels1, channels2, {1, kernel}, random_),
      fc1_(context, sizes_.flat(), hidden1, random_, /*relu=*/true),
      fc2_(context, hidden1, hidden2, random_, /*relu=*/true) {
  add_module("conv1", conv1_);
  if (form.batch_norm) add_module("bn1", bn1_.emplace(context, channels1, /*relu=*/true));
  add_module("conv2", conv2_);
  if (form.batch_norm) add_module("bn2", bn2_.emplace(context, channels2, /*relu=*/true));
  add_module("fc1", fc1_);
  add_module("fc2", fc2_);
  head1_ = make_head(context, spec.classes[0], "head1", random_);
  head2_ = make_head(context, spec.classes[1], "head2", random_);
}

std::unique_ptr<Linear> MtlNet::make_head(Context& context, std::int64_t classes, const char* name, Random& random) {
  if (classes == 0) return nullptr;
  auto head = std::make_unique<Linear>(context, hidden2, classes, random);
  add_module(name, *head);
  return head;
}

Tensor MtlNet::features(const Tensor& windows) const {
  const Shape& shape = windows.shape();
  const Shape& window = spec_.window;
  check(shape.rank() == 4 && shape[1] == window[0] && shape[2] == window[1] && shape[3] == window[2],
        "{}: input {} is not (N, {}, {}, {})", spec_.architecture, shape, window[0], window[1], window[2]);
  Tensor x = ops::view(windows, {shape[0], sizes_.in_channels, sizes_.rows, sizes_.length});
  x = conv_block(conv1_, bn1_ ? &*bn1_ : nullptr, x, {1, 2}, {2, 2});
  x = conv_block(conv2_, bn2_ ? &*bn2_ : nullptr, x, {1, 2}, {2, 2});
  return fc2_.forward(fc1_.forward(ops::flatten(x)));
}

Logits MtlNet::heads(const Tensor& features) const {
  return {head1_ ? head1_->forward(features) : Tensor(), head2_ ? head2_->forward(features) : Tensor()};
}

std::vector<LayerSummary> MtlNet::summary() const {
  const Geometry& g = sizes_;
  std::vector<LayerSummary> layers;
  auto add = [&](std::string name, std::string kind, Shape output, std::int64_t parameters = 0, std::int64_t flops = 0) {
    layers.push_back({std::move(name), std::move(kind), output, parameters, flops});
  };
  auto convolution = [&](const char* name, const char* norm, std::int64_t in, std::int64_t out, std::int64_t rows, std::int64_t length,
                         std::int64_t pool_rows, std::int64_t pooled) {
    add(name, "Conv2d 1x9", {out, rows, length}, out * in * kernel + out, 2 * out * in * kernel * rows * length);
    if (form_.batch_norm) add(norm, "BatchNorm2d", {out, rows, length}, 2 * out);
    add("", "ReLU, MaxPool2d 1x2 / 2", {out, pool_rows, pooled});
  };
  auto linear = [&](const char* name, const char* kind, std::int64_t in, std::int64_t out) {
    if (out > 0) add(name, kind, {out}, out * in + out, 2 * out * in);
  };
  convolution("conv1", "bn1", g.in_channels, channels1, g.rows, g.conv1, g.pool1_rows, g.pool1);
  convolution("conv2", "bn2", channels1, channels2, g.pool1_rows, g.conv2, g.pool2_rows, g.pool2);
  linear("fc1", "Linear, ReLU", g.flat(), hidden1);
  linear("fc2", "Linear, ReLU", hidden1, hidden2);
  linear("head1", "Linear", hidden2, spec_.classes[0]);
  linear("head2", "Linear", hidden2, spec_.classes[1]);
  return layers;
}

}  // namespace retort::nn
