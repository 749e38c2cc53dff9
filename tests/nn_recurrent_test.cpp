// LSTM and GRU and the networks built on them: against PyTorch (golden_recurrent.h), and what is promised besides.
#include "catch.h"
#include "golden_recurrent.h"

#include "retort/core/random.h"
#include "retort/nn/models/model.h"
#include "retort/nn/models/recurrent_net.h"
#include "retort/nn/recurrent.h"

#include <random>

namespace {

using namespace retort;

std::vector<std::string> implementations() {
  register_kernels();
  return {"ref", "eigen"};
}

TEST_CASE("LSTM and GRU agree with PyTorch: output, final state, every gradient") {
  const std::string implementation = GENERATE(from_range(implementations()));
  const int threads = GENERATE(1, 2);
  CAPTURE(implementation, threads);
  golden::DefaultImplementations restore;
  use_implementation("*", Device::cpu, implementation);
  Context context(Device::cpu, threads);
  golden::check_recurrent_cases(context);
}

TEST_CASE("two layers of 128 units over 100 steps agree with PyTorch") {
  const int threads = GENERATE(1, 2);
  const std::string name = GENERATE(as<std::string>(), "large.lstm", "large.bilstm", "large.gru");
  CAPTURE(threads, name);
  Context context(Device::cpu, threads);
  golden::check_large_recurrent_case(context, name);
}

TEST_CASE("the recurrent nets agree with PyTorch: logits and every gradient") {
  const std::string form = GENERATE(as<std::string>(), "lstm", "bilstm", "gru", "anpo-net");
  CAPTURE(form);
  Context context(Device::cpu, 2);
  golden::check_recurrent_net(context, form);
}

TEST_CASE("permute and select: values, gradients, refusals") {
  Context context(Device::cpu, 2);
  const std::uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::vector<float> values(3 * 5 * 7);
  for (float& v : values) v = std::normal_distribution<float>()(random);
  Tensor x = Tensor::from(context, {3, 5, 7}, std::span<const float>(values));
  x.set_requires_grad();
  const Tensor y = ops::permute(x, {2, 0, 1});
  REQUIRE(y.shape() == Shape({7, 3, 5}));
  const auto at = [&](int i, int j, int k) { return values[static_cast<std::size_t>((i * 5 + j) * 7 + k)]; };
  const auto moved = y.to_vector();
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 5; ++j)
      for (int k = 0; k < 7; ++k) REQUIRE(moved[static_cast<std::size_t>((k * 3 + i) * 5 + j)] == at(i, j, k));

  const Tensor last = ops::select(y, -1), third = ops::select(y, 2);
  CHECK(last.shape() == Shape({3, 5}));
  CHECK(last.to_vector()[1] == at(0, 1, 6));
  ops::add(last, ops::scale(third, 3.0f)).backward(Tensor::full(context, {3, 5}, 2.0f));
  const auto gradient = x.grad().to_vector();
  for (int i = 0; i < 15; ++i)
    for (int k = 0; k < 7; ++k) REQUIRE(gradient[static_cast<std::size_t>(i * 7 + k)] == (k == 6 ? 2.0f : k == 2 ? 6.0f : 0.0f));

  CHECK_THROWS_AS(ops::permute(x, {0, 0, 1}), Error);
  CHECK_THROWS_AS(ops::permute(x, {0, 1, 3}), Error);
  CHECK_THROWS_AS(ops::permute(ops::flatten(x), {0, 1, 2}), Error);
  CHECK_THROWS_AS(ops::select(x, 3), Error);
  CHECK_THROWS_AS(ops::select(x, -4), Error);
}

TEST_CASE("shapes that do not fit are refused with the numbers") {
  Context context(Device::cpu, 1);
  const auto zeros = [&](std::initializer_list<std::int64_t> sizes) { return Tensor::zeros(context, Shape(sizes)); };
  const ops::RecurrentWeights w{zeros({8, 3}), zeros({8, 2}), zeros({8}), zeros({8})};
  CHECK_NOTHROW(ops::lstm(zeros({4, 5, 3}), w));
  CHECK_NOTHROW(ops::lstm(zeros({4, 5, 3}), {w.weight_ih, w.weight_hh, {}, {}}));
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message([&] {
          ops::gru(zeros({4, 5, 3}), w);
        }).find("gru: weight_hh (8, 2) is not (3 hidden, hidden)") != std::string::npos);
  CHECK(message([&] { ops::lstm(zeros({4, 5, 2}), w); }).find("(4, 5, 2)") != std::string::npos);
  CHECK_THROWS_AS(ops::lstm(zeros({4, 5}), w), Error);
  CHECK_THROWS_AS(ops::lstm(zeros({0, 5, 3}), w), Error);
  CHECK_THROWS_AS(ops::lstm(zeros({4, 5, 3}), {w.weight_ih, w.weight_hh, w.bias_ih, {}}), Error);
  CHECK_THROWS_AS(ops::lstm(zeros({4, 5, 3}), {w.weight_ih, w.weight_hh, zeros({7}), zeros({7})}), Error);
  CHECK_THROWS_AS(ops::lstm(zeros({4, 5, 3}), {Tensor(), w.weight_hh, {}, {}}), Error);
}

TEST_CASE("a recurrent net's rows do not see each other, and evaluation is not random") {
  const std::string name = GENERATE(as<std::string>(), "lstm", "bilstm", "gru", "anpo-net");
  CAPTURE(name);
  Context context(Device::cpu, 2);
  context.seed(7);
  const auto model = nn::make_model(context, {name, Shape{1, 3, 40}, {5, 2}, 3});
  CHECK(model->outputs() == std::array<std::int64_t, 2>{5, 2});
  CHECK(model->feature_count() == 256);
  const std::vector<float> values = golden::signed_units("nets", 9 * 120);
  const Tensor all = Tensor::from(context, {9, 1, 3, 40}, std::span<const float>(values));
  const Tensor one = Tensor::from(context, {1, 1, 3, 40}, std::span<const float>(values).subspan(4 * 120, 120));
  model->eval();
  const auto [z1, z2] = model->forward(all);
  REQUIRE(z1.shape() == Shape({9, 5}));
  REQUIRE(z2.shape() == Shape({9, 2}));
  CHECK(model->features(all).shape() == Shape({9, 256}));
  const std::vector<float> together = z1.to_vector();
  CHECK(golden::relative_error(model->forward(one).task1.to_vector(), std::span(together).subspan(20, 5)) <= 1e-5);
  CHECK(model->forward(all).task1.to_vector() == together);
  model->train();
  CHECK(model->forward(all).task1.to_vector() != model->forward(all).task1.to_vector());  // another mask
}

TEST_CASE("parameters, FLOPs and names of the recurrent nets") {
  Context context(Device::cpu, 1);
  struct Expected {
    const char* name;
    std::int64_t parameters, flops;
  };
  // Weights: LSTM 4 (in + 128) 128 a layer and direction, GRU 3; biases twice; then 256 and the heads.
  constexpr std::int64_t h = 128, ends = 256 * 12 + 256 * 3;
  const std::int64_t lstm = 4 * h * (3 + h) + 4 * h * (h + h), gru = lstm / 4 * 3;
  const std::int64_t bilstm = 2 * 4 * h * (3 + h) + 2 * 4 * h * (2 * h + h), anpo = 4 * h * (64 + h);
  const Expected expected[] = {
      {"lstm", lstm + 4 * 4 * h + 256 * h + 256 + ends + 15, 2 * (100 * lstm + 256 * h + ends)},
      {"gru", gru + 4 * 3 * h + 256 * h + 256 + ends + 15, 2 * (100 * gru + 256 * h + ends)},
      {"bilstm", bilstm + 8 * 4 * h + 256 * 2 * h + 256 + ends + 15, 2 * (100 * bilstm + 256 * 2 * h + ends)},
      {"anpo-net", 64 * 27 + 64 + 128 + anpo + 2 * 4 * h + 256 * h + 256 + ends + 15,
       2 * (64 * 27 * 92 + 46 * anpo + 256 * h + ends)},
  };
  for (const Expected& e : expected) {
    INFO(e.name);
    const auto model = nn::make_model(context, {.architecture = e.name});
    CHECK(model->parameter_count() == e.parameters);
    CHECK(model->flops() == e.flops);
    std::int64_t listed = 0;
    for (const auto& layer : model->summary()) listed += layer.parameters;
    CHECK(listed == e.parameters);
  }
  std::vector<std::string> names;
  for (const auto& p : nn::make_model(context, {.architecture = "bilstm"})->named_parameters()) names.push_back(p.name);
  const std::vector<std::string> wanted = {"rnn.weight_ih_l0",
                                           "rnn.weight_hh_l0",
                                           "rnn.bias_ih_l0",
                                           "rnn.bias_hh_l0",
                                           "rnn.weight_ih_l0_reverse",
                                           "rnn.weight_hh_l0_reverse",
                                           "rnn.bias_ih_l0_reverse",
                                           "rnn.bias_hh_l0_reverse",
                                           "rnn.weight_ih_l1",
                                           "rnn.weight_hh_l1",
                                           "rnn.bias_ih_l1",
                                           "rnn.bias_hh_l1",
                                           "rnn.weight_ih_l1_reverse",
                                           "rnn.weight_hh_l1_reverse",
                                           "rnn.bias_ih_l1_reverse",
                                           "rnn.bias_hh_l1_reverse",
                                           "shared.weight",
                                           "shared.bias",
                                           "head1.weight",
                                           "head1.bias",
                                           "head2.weight",
                                           "head2.bias"};
  CHECK(names == wanted);
}

TEST_CASE("single-task pairs and windows too short for anpo-net") {
  Context context(Device::cpu, 1);
  for (const std::string name : {"lstm", "bilstm", "gru", "anpo-net"}) {
    INFO(name);
    const auto pair = nn::make_single_task_pair(context, {name, Shape{1, 3, 20}, {4, 3}, 0});
    const auto [z1, z2] = pair->forward(Tensor::zeros(context, {2, 1, 3, 20}));
    CHECK(z1.shape() == Shape({2, 4}));
    CHECK(z2.shape() == Shape({2, 3}));
    const auto model = nn::make_model(context, {.architecture = name});
    CHECK_THROWS_AS(model->features(Tensor::zeros(context, {2, 1, 3, 99})), Error);
  }
  CHECK_NOTHROW(nn::make_model(context, {"anpo-net", Shape{1, 3, 10}, {4, 3}, 0}));
  CHECK_THROWS_AS(nn::make_model(context, {"anpo-net", Shape{1, 3, 9}, {4, 3}, 0}), Error);
}

}  // namespace
