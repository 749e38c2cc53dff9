// The same operations done by libraries, for comparison only: nothing in Retort calls them. Whatever was not found when the build
// was configured is left out, and the command `retort` goes without: it would load those libraries each time it starts.
#pragma once

#include "retort/bench/suite/op_bench.h"
#include "retort/kernels/conv2d.h"
#include "retort/kernels/linear.h"

namespace retort::bench {

enum class Pass { forward, backward };  ///< backward: all three gradients

/// The twins of a layer take and fill the arrays of the rows in op_layers.cpp. All null: none.
struct Twins {
  std::vector<Twin> (*linear)(const LinearShape&, Pass) = nullptr;
  std::vector<Twin> (*conv2d)(const Conv2dShape&, Pass) = nullptr;
  std::vector<std::string> (*versions)() = nullptr;  ///< "OpenBLAS 0.3.21 ...", "oneDNN 2.6.3"
};

/// Those that are linked in (library retort_bench_twins).
Twins library_twins();

}  // namespace retort::bench
