// A training step after the first few touches neither the heap nor the device's allocator: graph nodes, tensor headers, activations and
// work space all come from what earlier steps left.
#include "catch.h"
#include "malloc_counter.h"
#include "retort/distill/batches.h"
#include "retort/distill/presets.h"
#include "retort/distill/training_state.h"
#include "toy_windows.h"

using namespace retort;

TEST_CASE("a repeated training step allocates nothing") {
  if (!counts_mallocs) {
    WARN("skipped: the allocator cannot be counted in this build");
    return;
  }
  const WindowSet windows = toy_windows(64, 1);
  for (const std::string& method : method_names())
    for (const std::string& form : nn::architectures()) {
      Context context(Device::cpu, 2);
      const RunConfig config = default_config("strict", method);
      TrainingState state(context, config, {form, Shape{1, 3, 40}, {4, 2}, 0}, method);
      const DeviceData data(context, windows, 16);
      std::vector<std::int32_t> indices(16);
      auto step = [&](int i) {
        for (int j = 0; j < 16; ++j) indices[static_cast<std::size_t>(j)] = (16 * i + j) % 64;
        state.step(data.gather(indices));
      };
      for (int i = 0; i < 3; ++i) step(i);
      const auto from_device = context.arena().device_allocations();
      const long before = mallocs;
      for (int i = 0; i < 10; ++i) step(i);
      const long after = mallocs;
      INFO(method << ", " << form);
      CHECK(after - before == 0);
      CHECK(context.arena().device_allocations() == from_device);
    }
}
