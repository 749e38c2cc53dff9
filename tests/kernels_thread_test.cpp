// The thread team, and that no result depends on how many threads there are.
#include "catch.h"
#include "op_cases.h"
#include "retort/kernels/thread_team.h"

#include <chrono>
#include <thread>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace {

using namespace retort;

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

TEST_CASE("every CPU kernel gives the same bits for any number of threads") {
  const std::uint64_t seed = op_cases::fresh_seed();
  INFO("RETORT_SEED=" << seed << " repeats this run");
  Stream one(Device::cpu, 1), two(Device::cpu, 2), three(Device::cpu, 3);
  for (const auto& c : op_cases::all()) {
    op_cases::Problem problem;
    problem.before = make_values(c, seed);
    for (const auto& implementation : c.implementations(Device::cpu)) {
      if (implementation == "ref") continue;  // one loop, no threads
      const auto expected = run(c, problem, one, implementation);
      for (Stream* stream : {&two, &three, &three}) {
        const auto outcome = run(c, problem, *stream, implementation);
        for (const auto& [name, values] : outcome.outputs) {
          CAPTURE(c.title(), implementation, name, stream->threads().size());
          CHECK(same_bits(values, expected.outputs.at(name)));
        }
      }
    }
  }
}

TEST_CASE("a team runs every task exactly once, whatever their number") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadTeam team(threads);
    REQUIRE(team.size() == threads);
    for (int round = 0; round < 2000; ++round) {
      const std::int64_t tasks = round % 41;
      std::vector<int> runs(static_cast<std::size_t>(tasks));
      std::atomic<bool> bad_thread = false;
      team.run(tasks, [&](std::int64_t i, int thread) {
        ++runs[static_cast<std::size_t>(i)];
        if (thread < 0 || thread >= threads) bad_thread = true;
      });
      CAPTURE(threads, round);
      REQUIRE(std::all_of(runs.begin(), runs.end(), [](int n) { return n == 1; }));
      REQUIRE_FALSE(bad_thread);
    }
  }
}

TEST_CASE("no two tasks run at the same time as the same thread") {
  ThreadTeam team(4);
  std::atomic<int> inside[4] = {};
  std::atomic<bool> clash = false;
  for (int round = 0; round < 200; ++round)
    team.run(64, [&](std::int64_t, int thread) {
      if (inside[thread].fetch_add(1) != 0) clash = true;
      inside[thread].fetch_sub(1);
    });
  CHECK_FALSE(clash);
}

TEST_CASE("ranges cover everything once and do not depend on the team") {
  for (const std::int64_t n : {0, 1, 15, 16, 17, 1000}) {
    std::vector<std::pair<std::int64_t, std::int64_t>> expected;
    for (std::int64_t begin = 0; begin < n; begin += 16) expected.emplace_back(begin, std::min(begin + 16, n));
    for (const int threads : {1, 3}) {
      ThreadTeam team(threads);
      std::vector<std::pair<std::int64_t, std::int64_t>> seen(expected.size());
      team.for_ranges(n, 16, [&](std::int64_t begin, std::int64_t end) {
        seen[static_cast<std::size_t>(begin / 16)] = {begin, end};
      });
      CHECK(seen == expected);
    }
  }
}

TEST_CASE("teams sleep, wake and end cleanly") {
  for (int round = 0; round < 50; ++round) {
    ThreadTeam team(3);
    if (round % 2 == 0) continue;  // never used
    std::atomic<std::int64_t> sum = 0;
    for (int i = 0; i < 3; ++i) {
      team.run(10, [&](std::int64_t task, int) { sum += task; });
      if (round % 10 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // long enough to fall asleep
    }
    CHECK(sum == 135);
  }
}

#if !defined(__SANITIZE_ADDRESS__)  // which needs address space without end
TEST_CASE("threads that the system does not give are an error, and those that it gave end") {
  struct AddressSpace {  // stacks take it, 8 MB each
    rlimit before{};
    explicit AddressSpace(rlim_t left) {
      getrlimit(RLIMIT_AS, &before);
      rlim_t pages = 0;
      std::ifstream("/proc/self/statm") >> pages;
      const rlimit less{pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + left, before.rlim_max};
      REQUIRE(setrlimit(RLIMIT_AS, &less) == 0);
    }
    ~AddressSpace() { setrlimit(RLIMIT_AS, &before); }
  };
  {
    const AddressSpace little(rlim_t{256} << 20);
    CHECK_THROWS_WITH(ThreadTeam(4000), Catch::Matchers::Contains("cpu: 4000 threads were asked for, the system gives "));
    CHECK_THROWS_AS(ThreadTeam(4000), DeviceError);
  }
  std::atomic<int> done{0};
  ThreadTeam(3).run(100, [&](std::int64_t, int) { ++done; });
  CHECK(done == 100);
}
#endif

TEST_CASE("the number of threads follows the affinity mask") {
  CHECK(ThreadTeam::available() >= 1);
  CHECK(ThreadTeam(0).size() == ThreadTeam::available());
  cpu_set_t before, one;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &before)) {
      CPU_SET(i, &one);
      break;
    }
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  const int available = ThreadTeam::available();
  sched_setaffinity(0, sizeof before, &before);
  CHECK(available == 1);
  CHECK_THROWS_AS(ThreadTeam(-1), Error);
}

/// A made-up /proc/self/cgroup and /sys/fs/cgroup.
struct FakeCgroups {
  FakeCgroups() : root(std::filesystem::temp_directory_path() / fmt::format("retort_cgroups_{}", getpid())) {}
  ~FakeCgroups() { std::filesystem::remove_all(root); }
  void write(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text << "\n";
  }
  double cpus() const { return ThreadTeam::cgroup_cpus(root / "memberships", root / "fs"); }
  std::filesystem::path root;
};

TEST_CASE("a cgroup's quota limits the threads, the tightest one of its ancestors counts") {
  FakeCgroups fake;
  CHECK(std::isinf(fake.cpus()));  // nothing mounted
  fake.write("memberships", "0::/jobs/mine");
  CHECK(std::isinf(fake.cpus()));
  fake.write("fs/jobs/mine/cpu.max", "max 100000");
  CHECK(std::isinf(fake.cpus()));
  fake.write("fs/jobs/mine/cpu.max", "400000 100000");
  CHECK(fake.cpus() == 4.0);
  fake.write("fs/jobs/cpu.max", "150000 100000");
  CHECK(fake.cpus() == 1.5);
  fake.write("fs/jobs/mine/cpu.max", "50000 100000");
  CHECK(fake.cpus() == 0.5);
  fake.write("fs/jobs/mine/cpu.max", "nonsense");
  CHECK(fake.cpus() == 1.5);
}

TEST_CASE("quotas of cgroups v1 are read under the controller that has them") {
  FakeCgroups fake;
  fake.write("memberships", "3:memory:/a\n2:cpu,cpuacct:/a/b\n1:cpuset:/");
  fake.write("fs/memory/a/cpu.cfs_quota_us", "1");
  fake.write("fs/memory/a/cpu.cfs_period_us", "1");
  CHECK(std::isinf(fake.cpus()));
  fake.write("fs/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1");
  fake.write("fs/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000");
  CHECK(std::isinf(fake.cpus()));
  fake.write("fs/cpu,cpuacct/a/cpu.cfs_quota_us", "200000");
  fake.write("fs/cpu,cpuacct/a/cpu.cfs_period_us", "100000");
  CHECK(fake.cpus() == 2.0);
}

}  // namespace
