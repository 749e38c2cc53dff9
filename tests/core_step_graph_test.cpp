// Steps captured and replayed, on the simulator's device, which keeps launches, copies and fills as CUDA keeps them in a graph.
#include "step_graph_cases.h"

using namespace retort;
using namespace step_graph_cases;

namespace {

bool simulator() {
  if (is_available(Device::cuda_sim)) return true;
  WARN("skipped: " << describe(Device::cuda_sim));
  return false;
}

}  // namespace

TEST_CASE("a replayed step gives the numbers of ordinary calls, bit for bit, and asks for no memory") {
  if (simulator()) check_replays(Device::cuda_sim);
}

TEST_CASE("a captured step is told node by node, with the longest chain of dependent ones") {
  if (!simulator()) return;
  Context context(Device::cuda_sim, 1);
  const CountingStep step(context);
  StepGraph graph(context);
  CHECK(graph.nodes().empty());
  for (int i = 0; i <= StepGraph::warm_up; ++i) graph.run(step);
  const auto nodes = graph.nodes();
  REQUIRE(nodes.size() == graph.size());
  CHECK(nodes.front().name == "batch.gather");
  CHECK(nodes.back().name == "batch.record");
  // The branch's linear and scale wait for the gathering alone, what comes behind the join for both sides.
  std::size_t main = 0;
  std::vector<std::string> beside;
  for (const WorkNode& node : nodes) {
    INFO(node.name << ", depth " << node.depth);
    CHECK((node.is_kernel() || node.name == "copy" || node.name == "fill"));
    CHECK(node.bytes <= (node.is_kernel() ? 227u << 10 : context.arena().bytes_reserved()));
    if (node.beside) {
      CHECK(node.depth == nodes.front().depth + 1 + beside.size());
      beside.push_back(node.name);
    } else {
      CHECK(node.depth == ++main);
    }
  }
  CHECK(beside == std::vector<std::string>{"linear.forward", "scale.forward"});
  CHECK(main + beside.size() == nodes.size());
}

TEST_CASE("memory of a captured step is not given to others") {
  if (simulator()) check_memory(Device::cuda_sim);
}

TEST_CASE("the CPU, and a graph that is switched off, run every step as an ordinary call") {
  for (const Device device : {Device::cpu, Device::cuda_sim}) {
    if (!is_available(device)) continue;
    Context context(device, 1);
    const CountingStep step(context);
    StepGraph graph(context, /*enabled=*/device == Device::cpu);
    int calls = 0;
    for (int i = 0; i < 5; ++i) graph.run([&] { ++calls, step(); });
    CHECK(calls == 5);
    CHECK_FALSE(graph.captured());
    CHECK(graph.size() == 0);
  }
}

TEST_CASE("what a replay could not repeat is refused while a step is captured, and the context works on") {
  if (simulator()) check_refusals(Device::cuda_sim);
}

TEST_CASE("a branch that is not waited for is an error at the capture's end") {
  if (simulator()) check_unjoined(Device::cuda_sim, "nobody waits for");
}

TEST_CASE("work that may run at once must not share memory, also where both orders give the same numbers") {
  if (!simulator()) return;
  Context context(Device::cuda_sim, 1);
  const Tensor x = Tensor::full(context, {5}, 2.0f), y = Tensor::zeros(context, {5}), z = Tensor::zeros(context, {5}),
               shared = Tensor::zeros(context, {5});
  const auto captured = [&](const std::function<void()>& step) {
    StepGraph graph(context);
    for (int i = 0; i <= StepGraph::warm_up + 1; ++i) graph.run(step);  // the last is a replay only
  };
  const auto both = [&](const std::function<void()>& in_branch, const std::function<void()>& here) {
    return [&context, in_branch, here] {
      Branch branch(context);
      branch.run(in_branch);
      here();
      branch.join();
    };
  };
  CHECK_THROWS_WITH(captured(both([&] { y.copy_from(x); }, [&] { z.copy_from(y); })),
                    Contains("copy beside the main queue writes memory (byte 0 of a block of 64) that copy reads"));
  CHECK_THROWS_WITH(captured(both([&] { y.copy_from(x); }, [&] { y.zero(); })),
                    Contains("writes memory") && Contains("fill writes"));
  // Each has its own result, by way of the same block.
  CHECK_THROWS_WITH(
      captured(both([&] { shared.copy_from(x), y.copy_from(shared); }, [&] { shared.zero(), z.copy_from(shared); })),
      Contains("neither waits for the other"));
  if (describe(Device::cuda_sim).ends_with("checked"))  // of kernels it is only seen then
    CHECK_THROWS_WITH(captured(both([&] { y.copy_from(x); }, [&] { ops::scale(y, 2.0f); })),
                      Contains("that scale.forward reads"));
  captured(both([&] { y.copy_from(x); }, [&] { z.copy_from(x); }));
  captured([&] {
    both([&] { y.copy_from(x); }, [&] { ops::scale(x, 2.0f); })();
    z.copy_from(y);  // behind the join
    both([&] { y.zero(); }, [&] { ops::scale(z, 2.0f); })();
  });
  CHECK(z.to_vector() == std::vector<float>(5, 2.0f));
}
