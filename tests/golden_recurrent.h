// LSTM and GRU and the networks built on them against PyTorch in float64 (fixtures by golden/recurrent_fixtures.py), on whichever
// device. Bounds are relative in the Euclidean norm: 1e-5 forward, 1e-4 for gradients.
#pragma once

#include "catch.h"
#include "golden.h"

#include "retort/nn/models/model.h"
#include "retort/nn/recurrent.h"

namespace retort::golden {

constexpr double forward_bound = 1e-5, gradient_bound = 1e-4;

inline nn::RecurrentOptions recurrent_options(const Case& c) {
  const auto& p = c.parameters();
  return {.cell = p["cell"] == "lstm" ? nn::Cell::lstm : nn::Cell::gru,
          .in = p["in"],
          .hidden = p["hidden"],
          .layers = p["layers"],
          .bidirectional = p["bidirectional"]};
}

/// NaN in the blocks that the next tensors of these sizes will get.
inline void poison(Context& context, std::initializer_list<Shape> shapes) {
  std::vector<Tensor> blocks;
  for (const Shape& shape : shapes)
    for (int i = 0; i < 6; ++i) blocks.push_back(Tensor::full(context, shape, std::nanf("")));
}

/// The small cases: output, final state, every gradient.
inline void check_recurrent_cases(Context& context) {
  const SafetensorsFile file = open("recurrent.safetensors");
  std::size_t done = 0;
  for (const std::string prefix : {"lstm.", "gru."})
    for (const std::string& name : cases(file, prefix)) {
      INFO(name);
      const Case c(file, name);
      Random random(1);
      nn::Recurrent rnn(context, recurrent_options(c), random);
      for (const auto& [parameter, tensor] : rnn.named_parameters()) {
        REQUIRE(c.has(parameter));
        REQUIRE(tensor.shape() == c.shape(parameter));
        tensor.copy_from_host(c.floats(parameter));
      }
      Tensor x = Tensor::from(context, c.shape("x"), c.floats("x"));
      x.set_requires_grad();
      const std::int64_t steps = x.shape()[0], rows = x.shape()[1], hidden = recurrent_options(c).hidden;
      poison(context, {x.shape(), c.shape("y"), {steps, rows, hidden}, {steps, rows, 4 * hidden}});

      const Tensor y = rnn.forward(x), last = rnn.last_states(x);
      CHECK(relative_error(y.to_vector(), c.floats("y")) <= forward_bound);
      // h_n: the last step of the forward half, the first of the reverse one.
      const auto all = c.floats("y");
      std::vector<float> states;
      const std::int64_t out = recurrent_options(c).out();
      for (std::int64_t n = 0; n < rows; ++n)
        for (std::int64_t j = 0; j < out; ++j)
          states.push_back(all[static_cast<std::size_t>(((j < hidden ? steps - 1 : 0) * rows + n) * out + j)]);
      CHECK(relative_error(last.to_vector(), states) <= forward_bound);

      y.backward(Tensor::from(context, c.shape("dy"), c.floats("dy")));
      CHECK(relative_error(x.grad().to_vector(), c.floats("dx")) <= gradient_bound);
      for (const auto& [parameter, tensor] : rnn.named_parameters()) {
        INFO(parameter);
        REQUIRE(tensor.grad().defined());
        CHECK(relative_error(tensor.grad().to_vector(), c.floats("d" + parameter)) <= gradient_bound);
      }
      ++done;
    }
  CHECK(done == 7);
}

/// Two layers of 128 units over 100 steps.
inline void check_large_recurrent_case(Context& context, const std::string& name) {
  const SafetensorsFile file = open("recurrent.safetensors");
  const Case c(file, name);
  const auto& p = c.parameters();
  const std::int64_t steps = p["steps"], rows = p["rows"], in = p["in"], hidden = p["hidden"], out = recurrent_options(c).out();
  Random random(1);
  nn::Recurrent rnn(context, recurrent_options(c), random);
  const auto by_formula = [&](const std::string& what, std::int64_t count, float scale) {
    std::vector<float> values = signed_units(name + "." + what, count);
    for (float& v : values) v *= scale;
    return values;
  };
  const auto bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(hidden)));
  for (const auto& [parameter, tensor] : rnn.named_parameters())
    tensor.copy_from_host(std::span<const float>(by_formula(parameter, tensor.count(), bound)));
  Tensor x = Tensor::from(context, {steps, rows, in}, std::span<const float>(by_formula("x", steps * rows * in, 1.5f)));
  x.set_requires_grad();
  const Tensor y = rnn.forward(x);
  CHECK(relative_error(ops::select(y, -1).to_vector(), c.floats("y_last")) <= forward_bound);
  const auto y_error = checksum_error(file, name + ".", "y", y.to_vector());
  CHECK(y_error.samples <= forward_bound);
  CHECK(y_error.norm <= forward_bound);
  y.backward(Tensor::from(context, {steps, rows, out}, std::span<const float>(by_formula("dy", y.count(), 1.0f))));
  const auto compare = [&](const std::string& gradient, const Tensor& got) {
    INFO(gradient);
    const auto error = checksum_error(file, name + ".", gradient, got.to_vector());
    CHECK(error.samples <= gradient_bound);
    CHECK(error.norm <= gradient_bound);
    CHECK(error.sum <= gradient_bound);
  };
  compare("dx", x.grad());
  for (const auto& [parameter, tensor] : rnn.named_parameters()) compare("d" + parameter, tensor.grad());
}

/// A whole network in evaluation mode (dropout draws numbers of our own): logits and every gradient.
inline void check_recurrent_net(Context& context, const std::string& form) {
  const SafetensorsFile file = open("recurrent.safetensors");
  const auto model = nn::make_model(context, {.architecture = form});
  for (const auto& [name, tensor] : model->named_parameters())
    tensor.copy_from_host(std::span<const float>(parameter(name, tensor.count(), 128)));
  model->eval();
  const std::int64_t rows = 5;
  const Windows made = windows(12, 3, rows);
  const auto [z1, z2] = model->forward(Tensor::from(context, {rows, 1, 3, 100}, std::span<const float>(made.x)));
  CHECK(relative_error(z1.to_vector(), file.floats("net." + form + ".z1")) <= forward_bound);
  CHECK(relative_error(z2.to_vector(), file.floats("net." + form + ".z2")) <= forward_bound);
  const auto weighted = [&](const Tensor& z, const char* name) {
    return ops::sum(ops::mul(z, Tensor::from(context, z.shape(), std::span<const float>(signed_units(name, z.count())))));
  };
  ops::add(weighted(z1, "net.dy1"), weighted(z2, "net.dy2")).backward();
  for (const auto& [name, tensor] : model->named_parameters()) {
    INFO(name);
    const auto error = checksum_error(file, "net." + form + ".", "d" + name, tensor.grad().to_vector());
    CHECK(error.samples <= gradient_bound);
    CHECK(error.norm <= gradient_bound);
  }
}

}  // namespace retort::golden
