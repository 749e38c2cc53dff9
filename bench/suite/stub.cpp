// Built in the place of bench.cpp when Google Benchmark is missing or -DRETORT_BENCH=OFF was asked for.
#include "retort/bench/suite/bench.h"
#include "retort/kernels/check.h"

namespace retort::bench {

int run(const Options&, const Twins&) {
  fail<InputError>(
      "bench: this build has no benchmarks; install Google Benchmark (Debian: libbenchmark-dev) and configure with "
      "-DRETORT_BENCH=ON");
}

}  // namespace retort::bench
