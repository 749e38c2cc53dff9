#include "retort/data/loader.h"

#include "catch.h"
#include "retort/core/error.h"
#include "retort/core/file.h"
#include "retort/core/random.h"
#include "retort/data/prepared.h"
#include "retort/data/read_ahead.h"
#include "temp_directory.h"
#include "toy_windows.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>
#include <thread>

using namespace retort;
using namespace retort_test;

namespace {

std::vector<std::int32_t> numbers(std::int32_t n, std::int32_t first = 0) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(n));
  std::iota(out.begin(), out.end(), first);
  return out;
}

std::vector<std::int32_t> epoch_of(Loader& loader, std::int64_t epoch) {
  std::vector<std::int32_t> out;
  loader.start_epoch(epoch);
  for (auto batch = loader.next(); !batch.empty(); batch = loader.next()) out.insert(out.end(), batch.begin(), batch.end());
  return out;
}

}  // namespace

TEST_CASE("an epoch gives every window once, the last batch shorter") {
  Loader loader(numbers(130, 1000), 64, true, 5);
  CHECK(loader.batches_per_epoch() == 3);
  std::vector<std::size_t> sizes;
  for (auto batch = loader.next(); !batch.empty(); batch = loader.next()) sizes.push_back(batch.size());
  CHECK(sizes == std::vector<std::size_t>{64, 64, 2});
  CHECK(loader.next().empty());
  auto order = epoch_of(loader, 3);
  CHECK(order != numbers(130, 1000));
  std::ranges::sort(order);
  CHECK(order == numbers(130, 1000));
}

TEST_CASE("without shuffle windows come in the given order") {
  Loader loader({5, 3, 9}, 2, false, 1);
  CHECK(epoch_of(loader, 0) == std::vector<std::int32_t>{5, 3, 9});
  CHECK(epoch_of(loader, 7) == std::vector<std::int32_t>{5, 3, 9});
}

TEST_CASE("the order of an epoch depends on seed and epoch alone") {
  Loader a(numbers(1000), 64, true, 11), b(numbers(1000), 10, true, 11), c(numbers(1000), 64, true, 12);
  const auto second = epoch_of(a, 2);
  epoch_of(b, 9);
  CHECK(epoch_of(b, 2) == second);
  CHECK(epoch_of(a, 3) != second);
  CHECK(epoch_of(c, 2) != second);
}

TEST_CASE("a restored cursor goes on where it was") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    const auto n = static_cast<std::int32_t>(1 + random() % 500), batch = static_cast<std::int32_t>(1 + random() % 70);
    Loader whole(numbers(n), batch, true, seed);
    const auto order = epoch_of(whole, 4);
    whole.start_epoch(4);
    const auto stop = static_cast<std::int64_t>(random() % static_cast<unsigned>(whole.batches_per_epoch() + 1));
    for (std::int64_t i = 0; i < stop; ++i) whole.next();
    Loader resumed(numbers(n), batch, true, seed);
    resumed.restore(whole.cursor());
    CHECK(resumed.cursor() == whole.cursor());
    std::vector<std::int32_t> rest;
    for (auto part = resumed.next(); !part.empty(); part = resumed.next()) rest.insert(rest.end(), part.begin(), part.end());
    CHECK(std::ranges::equal(rest, std::span(order).subspan(order.size() - rest.size())));
    CHECK(static_cast<std::int64_t>(order.size() - rest.size()) == whole.cursor().position);
  }
}

TEST_CASE("wrong cursors, batches and sets are refused") {
  Loader loader(numbers(100), 64, true, 1);
  CHECK_THROWS_AS(loader.restore({0, 101}), InputError);
  CHECK_THROWS_AS(loader.restore({0, 10}), InputError);
  CHECK_THROWS_AS(loader.restore({-1, 0}), InputError);
  CHECK_NOTHROW(loader.restore({3, 100}));
  CHECK_THROWS_AS(Loader(numbers(10), 0, true, 1), Error);
  CHECK_THROWS_AS(Loader({}, 1, true, 1), Error);
}

TEST_CASE("the random numbers are splitmix64's and evenly spread") {
  Random random(1), other(1, 1);
  CHECK(random.bits() != other.bits());
  std::vector<int> hits(7);
  double sum = 0, squares = 0;
  for (int i = 0; i < 70000; ++i) {
    ++hits[random.below(7)];
    const double z = random.normal();
    sum += z, squares += z * z;
  }
  for (const int h : hits) CHECK(std::abs(h - 10000) < 500);  // five standard deviations
  CHECK(std::abs(sum / 70000) < 0.02);
  CHECK(std::abs(squares / 70000 - 1) < 0.03);
}

namespace {

/// Takes the file's pages out of the system's memory, as far as the file system lets it.
void forget(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  REQUIRE(fd >= 0);
  ::fsync(fd);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
}

}  // namespace

TEST_CASE("windows in memory are not asked for") {
  const WindowSet windows = toy_windows(200, 1);
  const auto order = numbers(200);
  ReadAhead ahead(windows, order);
  CHECK(ahead.asked() == 200);
  ahead.advance(64);
  CHECK(ahead.asked() == 200);
}

TEST_CASE("windows on the disk are asked for before their turn: all at once where they fit, else a bounded number of them") {
  const TempDirectory directory;
  const std::filesystem::path path = directory / "windows.safetensors";
  save_prepared(path, toy_windows(6000, 2));
  const bool fits = GENERATE(true, false);
  forget(path);
  const WindowSet windows = load_prepared(path);
  if (in_memory(std::as_bytes(windows.windows))) {
    WARN("this file system keeps its files in memory (" << path << ")");
    return;
  }
  std::vector<std::int32_t> order = numbers(6000);
  std::shuffle(order.begin(), order.end(), std::mt19937(std::random_device()()));
  const std::size_t bytes = windows.windows.size_bytes();
  ReadAhead ahead(windows, order, fits ? bytes : bytes - 1);
  if (!fits) {
    CHECK(ahead.asked() == 0);
    ahead.advance(0);
    CHECK(ahead.asked() == ReadAhead::distance);
    ahead.advance(64);
  }
  CHECK(ahead.asked() == (fits ? 6000 : ReadAhead::distance + 64));

  const auto arrived = [&](std::int64_t i) {
    return in_memory(std::as_bytes(windows.window(order[static_cast<std::size_t>(i)])));
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  std::int64_t count = 0;
  while (count < ahead.asked() && std::chrono::steady_clock::now() < deadline)
    arrived(count) ? static_cast<void>(++count) : std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(count == ahead.asked());

  ahead.advance(6000);  // past the end there is nothing to ask for
  CHECK(ahead.asked() == 6000);
}
