// Captured steps, for the tests of every device that can capture: the simulator's and a GPU.
#pragma once

#include "catch.h"

#include "retort/core/branch.h"
#include "retort/core/ops.h"
#include "retort/core/step_graph.h"

#include <cmath>

namespace step_graph_cases {

using namespace retort;
using Catch::Matchers::Contains;

/// A step that is different every time although its code is the same: batch after batch of a table, times a weight that grows,
/// with dropout; what comes out is noted.
class CountingStep {
 public:
  explicit CountingStep(Context& context) : context_(context) {
    std::vector<float> table(rows * columns);
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = 0.25f * static_cast<float>(i) - 3.0f;
    std::vector<std::int32_t> labels(rows), order(rows);
    for (std::int32_t i = 0; i < rows; ++i)
      labels[static_cast<std::size_t>(i)] = i % 3, order[static_cast<std::size_t>(i)] = (5 * i + 2) % rows;
    data_ = {Tensor::from(context, {rows, columns}, table), Tensor::from(context, {rows}, labels),
             Tensor::from(context, {rows}, labels)};
    order_ = {Tensor::from(context, {rows}, order), Tensor::zeros(context, Shape{}, DType::i32), batch};
    history_ = Tensor::zeros(context, {rows / batch, 1});
    weight_ = Tensor::full(context, {3, columns}, 0.5f);
    weight_.set_requires_grad();
    context.seed(11, order_.counter.ints());
  }

  void operator()() const {
    context_.begin_step();
    weight_.zero_grad();
    const auto picked = ops::gather_batch(data_, order_, batch);
    Branch branch(context_);
    const Tensor beside = branch.run([&] {
      NoGrad no_grad(context_);
      return ops::scale(ops::linear(picked.rows, weight_, {}), 0.5f);
    });
    const Tensor here = ops::dropout(ops::linear(picked.rows, weight_, {}), 0.5f);
    branch.join();
    const Tensor loss = ops::add(ops::cross_entropy(here, picked.labels1), ops::distill_kl(here, beside, 2.0f));
    loss.backward();
    const Tensor moved = ops::add(weight_.detach(), ops::scale(weight_.grad(), -0.1f));
    weight_.detach().copy_from(moved);
    ops::record_(ops::reshape(loss.detach(), {1}), history_, order_.counter);
  }

  static constexpr std::int64_t rows = 48, columns = 6, batch = 4, steps = rows / batch;
  std::vector<float> history() const { return history_.to_vector(); }

 private:
  Context& context_;
  ops::LabelledRows data_;
  ops::BatchOrder order_;
  Tensor history_, weight_;
};

/// Replays give the numbers of ordinary calls, bit for bit, and ask for no memory.
inline void check_replays(Device device) {
  Context eager_context(device, 1), context(device, 1);
  const CountingStep eager(eager_context), step(context);
  int calls = 0;
  const auto counted = [&] { ++calls, step(); };
  {
    StepGraph graph(context);
    std::uint64_t reserved = 0;
    std::size_t size = 0;
    for (int i = 0; i < CountingStep::steps; ++i) {
      eager();
      graph.run(counted);
      CHECK(graph.captured() == (i >= StepGraph::warm_up));
      if (i == StepGraph::warm_up) size = graph.size(), reserved = context.arena().device_allocations();
    }
    CHECK(calls == StepGraph::warm_up + 1);
    CHECK(size >= 15);
    CHECK(graph.size() == size);
    CHECK(context.arena().device_allocations() == reserved);
  }
  const auto expected = eager.history(), history = step.history();
  CHECK(history == expected);
  for (std::size_t i = 0; i < history.size(); ++i) {
    CHECK(std::isfinite(history[i]));
    CHECK(history[i] != 0.0f);
    if (i > 0) CHECK(history[i] != history[i - 1]);
  }
}

/// Memory of a captured step is not given to others.
inline void check_memory(Device device) {
  Context eager_context(device, 1), context(device, 1);
  const CountingStep eager(eager_context), step(context);
  StepGraph graph(context);
  std::vector<Tensor> kept;
  for (int i = 0; i < CountingStep::steps; ++i) {
    eager();
    graph.run(step);
    // Tensors of all sizes that a step uses, which a replay must not write to.
    for (const std::int64_t n : {1, 4, 12, 18, 24, 64}) kept.push_back(Tensor::full(context, {n}, 7.0f));
  }
  CHECK(step.history() == eager.history());
  for (const Tensor& tensor : kept)
    CHECK(tensor.to_vector() == std::vector<float>(static_cast<std::size_t>(tensor.count()), 7.0f));
}

/// What a replay could not repeat is refused while a step is captured, and the context works on.
inline void check_refusals(Device device) {
  Context context(device, 1);
  const Tensor x = Tensor::full(context, {33}, 2.0f), y = Tensor::zeros(context, {33});
  const auto refused = [&](const std::function<void(bool)>& step, const char* says) {
    INFO(says);
    StepGraph graph(context);
    for (int i = 0; i < StepGraph::warm_up; ++i) graph.run([&] { step(false); });
    CHECK_THROWS_WITH(graph.run([&] { step(true); }), Contains(says));
    CHECK_FALSE(graph.captured());
    y.copy_from(ops::scale(x, 3.0f));
    CHECK(y.to_vector() == std::vector<float>(33, 6.0f));
    graph.run([&] { step(false); });
    CHECK(graph.captured());
  };
  refused([&](bool bad) { y.copy_from(ops::scale(x, bad ? x.to_vector()[0] : 2.0f)); },
          "copied to the host while a step is captured");
  refused([&](bool bad) { y.copy_from(bad ? Tensor::full(context, {33}, 1.0f) : ops::scale(x, 2.0f)); },
          "copied from the host while a step is captured");
  refused([&](bool bad) { bad ? context.synchronize() : y.copy_from(ops::scale(x, 2.0f)); }, "waits for the device while");
  refused([&](bool bad) { y.copy_from(bad ? ops::relu(ops::scale(x, 2.0f)) : ops::scale(x, 2.0f)); }, "the same step every time");
}

/// A branch that is not waited for is an error at the capture's end, and nothing of it is done.
inline void check_unjoined(Device device, const char* says) {
  Context context(device, 1);
  Lane& lane = context.borrow_lane();
  const Tensor x = Tensor::full(context, {5}, 2.0f), y = Tensor::zeros(context, {5});
  {
    const LaneScope scope(context, lane);
    Lane& side = *context.side_lane();
    Capture capture(lane.stream);
    side.stream.wait_for(lane.stream);
    side.stream.copy(y.mutable_data(), x.data(), 5 * sizeof(float));
    CHECK_THROWS_WITH(capture.finish(), Contains(says));
  }
  CHECK(y.to_vector() == std::vector<float>(5, 0.0f));  // only noted, never done
  context.give_back(lane);
}

}  // namespace step_graph_cases
