// A kernel that runs a second time with the same shapes must not touch the heap: its work space is the stream's.
#include "catch.h"
#include "malloc_counter.h"
#include "op_cases.h"

namespace {

using namespace retort;

TEST_CASE("kernels allocate nothing when run again") {
  if (!counts_mallocs) {
    WARN("skipped: the allocator cannot be counted in this build");
    return;
  }
  Stream stream(Device::cpu, 2);
  {
    const long before = mallocs;
    stream.scratch(12345);
    REQUIRE(mallocs > before);  // the counter counts
  }
  for (auto c : op_cases::all())
    for (const auto& implementation : c.implementations(Device::cpu)) {
      if (implementation == "ref") continue;
      long made = -1;
      const auto launch = c.launch;
      c.launch = [&](Stream& s, std::string_view name, const op_cases::Arguments<float>& a) {
        launch(s, name, a);
        const long before = mallocs;
        launch(s, name, a);
        made = mallocs - before;
      };
      op_cases::Problem problem;
      problem.before = make_values(c, 1);
      run(c, problem, stream, implementation);
      c.launch = launch;
      CAPTURE(c.title(), implementation);
      CHECK(made == 0);
    }
}

}  // namespace
