#include "retort/data/split.h"

#include "catch.h"
#include "retort/core/error.h"
#include "retort/data/published.h"
#include "temp_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>

using namespace retort;
using namespace retort_test;

namespace {

struct Labels {
  std::vector<std::int32_t> task1, task2, subject, recording;
};

/// A set without values, which is all that a split looks at.
WindowSet window_set(Labels labels, std::size_t classes1, std::size_t classes2, std::size_t subjects) {
  auto owner = std::make_shared<Labels>(std::move(labels));
  WindowSet set;
  for (std::size_t i = 0; i < classes1; ++i) set.info.task1_names.push_back(fmt::format("a{}", i));
  for (std::size_t i = 0; i < classes2; ++i) set.info.task2_names.push_back(fmt::format("b{}", i));
  for (std::size_t i = 0; i < subjects; ++i) set.info.subjects.push_back(fmt::format("s{}", i));
  set.task1 = owner->task1, set.task2 = owner->task2, set.subject = owner->subject, set.recording = owner->recording;
  set.owner = owner;
  return set;
}

WindowSet random_set(std::size_t n, std::size_t classes, std::size_t subjects, unsigned seed) {
  std::mt19937 random(seed);
  Labels labels;
  for (std::size_t i = 0; i < n; ++i) {
    labels.task1.push_back(static_cast<std::int32_t>(random() % classes));
    labels.task2.push_back(static_cast<std::int32_t>(random() % 3));
    labels.subject.push_back(static_cast<std::int32_t>(random() % subjects));
    labels.recording.push_back(0);
  }
  return window_set(std::move(labels), classes, 3, subjects);
}

/// Every window in exactly one part, each part rising.
void check_partition(const Split& split, std::int64_t n) {
  std::set<std::int32_t> all;
  for (const auto* part : {&split.train, &split.val, &split.test}) {
    CHECK(std::ranges::is_sorted(*part));
    all.insert(part->begin(), part->end());
  }
  CHECK(static_cast<std::int64_t>(split.train.size() + split.val.size() + split.test.size()) == n);
  CHECK(static_cast<std::int64_t>(all.size()) == n);
  CHECK((all.empty() || (*all.begin() == 0 && *all.rbegin() == n - 1)));
}

std::vector<std::int64_t> counts(const std::vector<std::int32_t>& part, std::span<const std::int32_t> labels,
                                 std::size_t classes) {
  std::vector<std::int64_t> out(classes);
  for (const std::int32_t i : part) ++out[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])];
  return out;
}

}  // namespace

TEST_CASE("stratified test parts have exactly the published counts of tables 2 to 4") {
  for (const char* id : {"sleep", "mhealth", "wisdm"}) {
    CAPTURE(id);
    const auto published = published_classes(id);
    Labels labels;
    for (std::size_t c = 0; c < published.size(); ++c)
      labels.task1.insert(labels.task1.end(), static_cast<std::size_t>(published[c].train + published[c].test),
                          static_cast<std::int32_t>(c));
    const std::size_t n = labels.task1.size();
    CHECK(n == (std::string_view(id) == "sleep" ? 53546u : std::string_view(id) == "mhealth" ? 60786u : 143023u));
    labels.task2.assign(n, 0), labels.subject.assign(n, 0), labels.recording.assign(n, 0);
    const WindowSet set = window_set(std::move(labels), published.size(), 1, 1);
    const Split split = make_split(set, {.kind = SplitKind::stratified, .seed = 3});
    check_partition(split, static_cast<std::int64_t>(n));
    const auto test = counts(split.test, set.task1, published.size());
    std::int64_t different = 0;
    for (std::size_t c = 0; c < published.size(); ++c) {
      // Equal remainders may be rounded either way: one window of tolerance for a single class, none in the sum.
      CHECK(std::abs(test[c] - published[c].test) <= 1);
      different += test[c] != published[c].test;
    }
    CHECK(different <= 2);
    if (std::string_view(id) == "sleep") CHECK(different == 0);
  }
}

TEST_CASE("every kind makes five folds whose validation parts share out what is not tested") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  const WindowSet set = random_set(1003, 7, 11, seed);
  for (const SplitKind kind : {SplitKind::random, SplitKind::stratified, SplitKind::subject}) {
    CAPTURE(std::string(name(kind)));
    std::multiset<std::int32_t> validated;
    const Split first = make_split(set, {.kind = kind, .seed = seed});
    for (int fold = 0; fold < 5; ++fold) {
      const Split split = make_split(set, {.kind = kind, .fold = fold, .seed = seed});
      check_partition(split, set.count());
      CHECK(split.test == first.test);
      validated.insert(split.val.begin(), split.val.end());
    }
    CHECK(validated.size() == 1003 - first.test.size());
    CHECK(std::set<std::int32_t>(validated.begin(), validated.end()).size() == validated.size());
    if (kind != SplitKind::subject) CHECK(first.test.size() == 201);
  }
}

TEST_CASE("stratified shares hold in every part") {
  const WindowSet set = random_set(5000, 4, 3, 5);
  const auto all = count_labels(set.task1, 4);
  const Split split = make_split(set, {.kind = SplitKind::stratified, .fold = 2, .seed = 8});
  const auto train = counts(split.train, set.task1, 4), val = counts(split.val, set.task1, 4),
             test = counts(split.test, set.task1, 4);
  for (std::size_t c = 0; c < 4; ++c) {
    CHECK(std::abs(static_cast<double>(test[c]) - 0.2 * static_cast<double>(all[c])) < 1.5);
    CHECK(std::abs(static_cast<double>(val[c]) - 0.16 * static_cast<double>(all[c])) < 2.5);
    CHECK(std::abs(static_cast<double>(train[c]) - 0.64 * static_cast<double>(all[c])) < 2.5);
  }
}

TEST_CASE("by subject no subject is in two parts") {
  for (const std::size_t subjects : {6u, 10u, 24u, 51u}) {
    const WindowSet set = random_set(4000, 3, subjects, 1);
    const Split split = make_split(set, {.kind = SplitKind::subject, .fold = 1, .seed = 4});
    std::array<std::set<std::int32_t>, 3> seen;
    int p = 0;
    for (const auto* part : {&split.train, &split.val, &split.test}) {
      for (const std::int32_t i : *part) seen[static_cast<std::size_t>(p)].insert(set.subject[static_cast<std::size_t>(i)]);
      ++p;
    }
    CHECK(seen[0].size() + seen[1].size() + seen[2].size() == subjects);
    CHECK(seen[2].size() == std::max<std::size_t>(1, static_cast<std::size_t>(std::lround(0.2 * static_cast<double>(subjects)))));
    for (const std::int32_t s : seen[0]) CHECK((!seen[1].contains(s) && !seen[2].contains(s)));
    for (const std::int32_t s : seen[1]) CHECK(!seen[2].contains(s));
  }
  const WindowSet few = random_set(100, 3, 5, 1);
  CHECK(contains(message_of<InputError>([&] { make_split(few, {.kind = SplitKind::subject}); }),
                 "split by subject: 5 subjects make 1 for the test and 4 for 5 folds"));
  CHECK(make_split(few, {.kind = SplitKind::subject, .folds = 4}).val.size() > 0);
}

TEST_CASE("the same seed gives the same split, here and on any machine") {
  const WindowSet set = random_set(1000, 5, 10, 7);
  const SplitOptions options = {.kind = SplitKind::random, .seed = 42};
  CHECK(make_split(set, options).test == make_split(set, options).test);
  CHECK(make_split(set, options).test != make_split(set, {.kind = SplitKind::random, .seed = 43}).test);
  // Fixed numbers: a change of the generator or the shuffle would silently change everybody's results.
  const std::vector<std::int32_t> test = make_split(set, options).test;
  CHECK(std::vector<std::int32_t>(test.begin(), test.begin() + 6) == std::vector<std::int32_t>{0, 1, 12, 14, 19, 30});
}

TEST_CASE("shares of the training part nest and leave the rest alone") {
  const WindowSet set = random_set(2000, 5, 10, 9);
  for (const SplitKind kind : {SplitKind::random, SplitKind::stratified, SplitKind::subject, SplitKind::all}) {
    const Split full = make_split(set, {.kind = kind, .seed = 1});
    std::vector<std::int32_t> smaller;
    for (int tenth = 1; tenth <= 9; ++tenth) {
      const Split part = make_split(set, {.kind = kind, .train_fraction = tenth / 10.0, .seed = 1});
      CHECK(part.val == full.val);
      CHECK(part.test == full.test);
      CHECK(std::abs(static_cast<double>(part.train.size()) - tenth / 10.0 * static_cast<double>(full.train.size())) < 6);
      CHECK(std::ranges::includes(part.train, smaller));
      CHECK(std::ranges::includes(full.train, part.train));
      smaller = part.train;
    }
  }
}

TEST_CASE("all trains on everything in file order") {
  const Split split = make_split(random_set(50, 3, 2, 1), {.kind = SplitKind::all});
  CHECK(split.train.size() == 50);
  CHECK(split.train[7] == 7);
  CHECK(split.val.empty());
  CHECK(split.test.empty());
}

TEST_CASE("a class missing from the training part is an error, from the others a warning") {
  // Ten subjects; class 1 only with subject 0: wherever that subject lands, something lacks the class.
  Labels labels;
  for (std::int32_t i = 0; i < 1000; ++i) {
    labels.subject.push_back(i % 10);
    labels.task1.push_back(i == 10 ? 1 : 0);
    labels.task2.push_back(0);
    labels.recording.push_back(0);
  }
  const WindowSet set = window_set(std::move(labels), 3, 1, 10);
  int errors = 0, warnings = 0;
  for (int fold = 0; fold < 5; ++fold) try {
      const Split split = make_split(set, {.kind = SplitKind::subject, .fold = fold, .seed = 2});
      warnings += static_cast<int>(split.warnings.size());
      CHECK(contains(split.warnings.at(0), "has no window of class 'a1' of task 1"));
    } catch (const InputError& error) {
      CHECK(contains(error.what(), "class 'a1' of task 1 has 1 windows, none of them in the training part"));
      ++errors;
    }
  CHECK(errors >= 1);
  CHECK(errors + warnings / 2 == 5);  // class 2 exists in no window and is not asked for
}

TEST_CASE("impossible splits are refused") {
  const WindowSet set = random_set(100, 3, 10, 1);
  CHECK_THROWS_AS(make_split(set, {.kind = SplitKind::random, .folds = 1}), InputError);
  CHECK_THROWS_AS(make_split(set, {.kind = SplitKind::random, .fold = 5}), InputError);
  for (const SplitKind kind : {SplitKind::random, SplitKind::stratified}) {  // 80 windows are left
    CHECK(make_split(set, {.kind = kind, .folds = 80, .fold = 79}).val.size() == 1);
    CHECK_THROWS_AS(make_split(set, {.kind = kind, .folds = 81}), InputError);
  }
  CHECK_THROWS_AS(make_split(set, {.kind = SplitKind::random, .train_fraction = 0}), InputError);
  CHECK_THROWS_AS(make_split(set, {.kind = SplitKind::random, .test_fraction = 1}), InputError);
  CHECK_THROWS_AS(make_split(random_set(3, 1, 1, 1), {.kind = SplitKind::random}), InputError);
  CHECK_THROWS_AS(parse_split_kind("person"), InputError);
  CHECK(parse_split_kind("subject") == SplitKind::subject);
  CHECK(split_of_preset("released") == SplitKind::random);
  CHECK(split_of_preset("paper") == SplitKind::stratified);
  CHECK(split_of_preset("strict") == SplitKind::subject);
}
