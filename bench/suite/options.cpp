#include "retort/bench/suite/bench.h"

namespace retort::bench {

void Options::add(CLI::App& app) {
  app.add_option("--filter", filter, "Only benches whose name holds a match, e.g. '^conv2d.*/simd$' or '^step'")
      ->type_name("REGEX");
  app.add_option("--device", device, "Where kernels run")->check(CLI::IsMember({"cpu", "cuda", "cuda_sim"}))->type_name("NAME");
  app.add_option("--impl", impl, "Only this implementation, e.g. eigen, simd, onednn")->type_name("NAME");
  app.add_option("--threads", threads, "Host threads; 0: all that this process may use")->check(CLI::Range(0, 1024));
  app.add_option("--batch", batch, "Windows a batch")->check(CLI::Range(1, 1000000));
  app.add_option("--repetitions", repetitions, "Measurements of each; medians are printed")->check(CLI::Range(1, 1000));
  app.add_option("--seconds", seconds, "Least time of a measurement")->check(CLI::PositiveNumber);
  app.add_option("--json", json, "Also write the results here ('-': to stdout)")->type_name("FILE");
  app.add_flag("--list", list, "Names only");
}

}  // namespace retort::bench
