#include "retort/core/file.h"

#include "catch.h"
#include "retort/core/error.h"
#include "temp_directory.h"

#include <sys/resource.h>

#include <array>
#include <csignal>

using namespace retort;
using namespace retort_test;

namespace {

std::size_t entries(const std::filesystem::path& directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
}

}  // namespace

TEST_CASE("a file is written whole and replaced whole") {
  const TempDirectory dir;
  const auto path = dir / "a.txt";
  write_file_atomically(path, "first");
  CHECK(read_file(path) == "first");
  write_file_atomically(path, std::string(100000, 'x'));
  CHECK(read_file(path) == std::string(100000, 'x'));
  write_file_atomically(path, "");
  CHECK(read_file(path).empty());
  CHECK(entries(dir.path()) == 1);
}

TEST_CASE("pieces are written one after the other") {
  const TempDirectory dir;
  const std::string a = "abc", b, c = "defg";
  const std::array pieces = {std::as_bytes(std::span(a)), std::as_bytes(std::span(b)), std::as_bytes(std::span(c))};
  write_file_atomically(dir / "p", std::span<const std::span<const std::byte>>(pieces));
  CHECK(read_file(dir / "p") == "abcdefg");
}

TEST_CASE("a write that fails names path and reason and leaves the earlier file") {
  const TempDirectory dir;
  const auto path = dir.write("kept.bin", "earlier");
  // A limit on the size of files stands in for a full disk: write() fails part of the way.
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 4096;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string what = message_of<InputError>([&] { write_file_atomically(path, std::string(100000, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  CHECK(contains(what, path.string()));
  CHECK(contains(what, "File too large"));
  CHECK(read_file(path) == "earlier");
  CHECK(entries(dir.path()) == 1);
}

TEST_CASE("a directory in the way and a missing directory are refused") {
  const TempDirectory dir;
  dir.write("d/inside", "x");
  CHECK(contains(message_of<InputError>([&] { write_file_atomically(dir / "d", "y"); }), "a directory is in the way"));
  CHECK(contains(message_of<InputError>([&] { write_file_atomically(dir / "none" / "f", "y"); }), "No such file"));
  CHECK(contains(message_of<InputError>([&] { read_file(dir / "d"); }), "is a directory"));
  CHECK(contains(message_of<InputError>([&] { MappedFile(dir / "d"); }), "is a directory"));
  CHECK(contains(message_of<InputError>([&] { read_file(dir / "missing"); }), "No such file"));
  CHECK(entries(dir.path()) == 1);
}

TEST_CASE("a mapped file shows its bytes and can be moved") {
  const TempDirectory dir;
  MappedFile a(dir.write("a", "hello")), empty(dir.write("e", ""));
  CHECK(a.text() == "hello");
  CHECK(empty.bytes().empty());
  MappedFile b(std::move(a));
  CHECK(b.text() == "hello");
  empty = std::move(b);
  CHECK(empty.text() == "hello");
}
