#include "retort/data/split.h"

#include "retort/core/error.h"
#include "retort/core/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

namespace retort {
namespace {

struct NamedKind {
  SplitKind kind;
  std::string_view name;
};
constexpr std::array<NamedKind, 4> kinds = {{{SplitKind::subject, "subject"},
                                             {SplitKind::stratified, "stratified"},
                                             {SplitKind::random, "random"},
                                             {SplitKind::all, "all"}}};

/// Independent random streams of one seed, so that the choice of one does not move the others.
enum Stream : std::uint64_t { test_stream = 1, fold_stream = 2, fraction_stream = 3 };

using Indices = std::vector<std::int32_t>;

Indices numbers_up_to(std::size_t n) {
  Indices out(n);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

Indices shuffled(Indices values, std::uint64_t seed, std::uint64_t stream) {
  Random random(seed, stream);
  shuffle(std::span(values), random);
  return values;
}

/// Moves the first `n` of `from` to the end of `to`.
void move_front(Indices& from, std::size_t n, Indices& to) {
  const auto cut = from.begin() + static_cast<std::ptrdiff_t>(n);
  to.insert(to.end(), from.begin(), cut);
  from.erase(from.begin(), cut);
}

std::vector<Indices> by_class(const Indices& indices, std::span<const std::int32_t> labels, std::size_t classes) {
  std::vector<Indices> out(classes);
  for (const std::int32_t i : indices) out[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])].push_back(i);
  return out;
}

/// How many of each class make `total`: proportional, the largest remainders rounded up (the counts of tables 2 to 4 follow
/// this).
std::vector<std::size_t> proportional(const std::vector<Indices>& groups, std::size_t total, std::size_t all) {
  std::vector<std::size_t> counts;
  std::vector<std::pair<std::size_t, std::size_t>>
      remainders;  // (all - remainder, class): sorts to largest remainder, then class
  std::size_t given = 0;
  for (std::size_t c = 0; c < groups.size(); ++c) {
    const std::size_t exact = groups[c].size() * total;
    counts.push_back(exact / all);
    remainders.emplace_back(all - exact % all, c);
    given += counts.back();
  }
  std::ranges::sort(remainders);
  for (std::size_t i = 0; given < total; ++i, ++given) ++counts[remainders[i].second];
  return counts;
}

std::size_t test_count(std::size_t n, double fraction) {
  // Rounded up, with slack for 0.2 * n that should be whole and is not in binary.
  return static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(n) - 1e-9));
}

void split_random(const WindowSet& set, const SplitOptions& o, Split& out) {
  Indices order = shuffled(numbers_up_to(set.task1.size()), o.seed, test_stream);
  move_front(order, test_count(order.size(), o.test_fraction), out.test);
  const auto folds = static_cast<std::size_t>(o.folds), fold = static_cast<std::size_t>(o.fold);
  for (std::size_t i = 0; i < order.size(); ++i) (i % folds == fold ? out.val : out.train).push_back(order[i]);
}

void split_stratified(const WindowSet& set, const SplitOptions& o, Split& out) {
  const std::size_t n = set.task1.size();
  const Indices order = shuffled(numbers_up_to(n), o.seed, test_stream);
  std::vector<Indices> groups = by_class(order, set.task1, set.info.task1_names.size());
  const auto counts = proportional(groups, test_count(n, o.test_fraction), n);
  const auto folds = static_cast<std::size_t>(o.folds), fold = static_cast<std::size_t>(o.fold);
  std::size_t dealt = 0;  // goes on from class to class, so that the folds stay equally large
  for (std::size_t c = 0; c < groups.size(); ++c) {
    move_front(groups[c], counts[c], out.test);
    for (const std::int32_t i : groups[c]) (dealt++ % folds == fold ? out.val : out.train).push_back(i);
  }
}

void split_subject(const WindowSet& set, const SplitOptions& o, Split& out) {
  std::vector<bool> present(set.info.subjects.size());
  for (const std::int32_t s : set.subject) present[static_cast<std::size_t>(s)] = true;
  Indices subjects;
  for (std::size_t s = 0; s < present.size(); ++s)
    if (present[s]) subjects.push_back(static_cast<std::int32_t>(s));
  const std::size_t n = subjects.size(), folds = static_cast<std::size_t>(o.folds);
  const auto wanted = static_cast<std::size_t>(std::lround(o.test_fraction * static_cast<double>(n)));
  const std::size_t tested = o.test_fraction == 0 ? 0 : std::max<std::size_t>(1, wanted);
  check<InputError>(n >= tested + folds,
                    "split by subject: {} subjects make {} for the test and {} for {} folds, each fold needs one; "
                    "use fewer folds or another split",
                    n, std::min(tested, n), n - std::min(tested, n), folds);
  subjects = shuffled(std::move(subjects), o.seed, test_stream);
  enum Part { train, val, test };
  std::vector<Part> part(present.size(), train);
  for (std::size_t i = 0; i < n; ++i)
    part[static_cast<std::size_t>(subjects[i])] = i < tested                                                 ? test
                                                  : (i - tested) % folds == static_cast<std::size_t>(o.fold) ? val
                                                                                                             : train;
  for (std::size_t i = 0; i < set.subject.size(); ++i) {
    const Part p = part[static_cast<std::size_t>(set.subject[i])];
    (p == train ? out.train : p == val ? out.val : out.test).push_back(static_cast<std::int32_t>(i));
  }
}

/// Keeps a share of the training part, class by class unless the split is random. Prefixes of one shuffled order: shares nest.
void keep_fraction(const WindowSet& set, const SplitOptions& o, Split& split) {
  std::ranges::sort(split.train);
  const Indices order = shuffled(split.train, o.seed, fraction_stream);
  const std::size_t classes = o.kind == SplitKind::random ? 1 : set.info.task1_names.size();
  const std::vector<std::int32_t> one_class(o.kind == SplitKind::random ? set.task1.size() : 0);
  const auto groups = by_class(order, o.kind == SplitKind::random ? std::span(one_class) : set.task1, classes);
  split.train.clear();
  for (const Indices& group : groups) {
    const std::size_t kept = test_count(group.size(), o.train_fraction);
    split.train.insert(split.train.end(), group.begin(), group.begin() + static_cast<std::ptrdiff_t>(kept));
  }
}

/// Every class that occurs at all must be in the training part; validation and test may lack one, with a warning.
void check_classes(std::span<const std::int32_t> labels, const std::vector<std::string>& names, int task, Split& split) {
  const auto counts_of = [&](const Indices& part) {
    std::vector<std::int64_t> counts(names.size());
    for (const std::int32_t i : part) ++counts[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])];
    return counts;
  };
  const auto all = count_labels(labels, names.size()), train = counts_of(split.train);
  const auto val = counts_of(split.val), test = counts_of(split.test);
  for (std::size_t c = 0; c < names.size(); ++c) {
    if (all[c] == 0) continue;
    check<InputError>(train[c] > 0,
                      "split: class '{}' of task {} has {} windows, none of them in the training part; use another fold, "
                      "seed or split",
                      names[c], task, all[c]);
    if (val[c] == 0 && !split.val.empty())
      split.warnings.push_back(fmt::format("validation has no window of class '{}' of task {}", names[c], task));
    if (test[c] == 0 && !split.test.empty())
      split.warnings.push_back(fmt::format("test has no window of class '{}' of task {}", names[c], task));
  }
}

void check_options(const WindowSet& set, const SplitOptions& o) {
  check<InputError>(set.count() > 0, "split: there are no windows");
  check<InputError>(o.train_fraction > 0 && o.train_fraction <= 1, "split: training share {} is not above 0 and at most 1",
                    o.train_fraction);
  if (o.kind == SplitKind::all) return;
  check<InputError>(o.folds >= 2, "split: {} folds, at least 2 are needed", o.folds);
  check<InputError>(o.fold >= 0 && o.fold < o.folds, "split: fold {} is not between 0 and {}", o.fold, o.folds - 1);
  check<InputError>(o.test_fraction >= 0 && o.test_fraction < 1, "split: test share {} is not between 0 and 1", o.test_fraction);
}

}  // namespace

std::string_view name(SplitKind kind) {
  for (const NamedKind& item : kinds)
    if (item.kind == kind) return item.name;
  return "?";
}

SplitKind parse_split_kind(std::string_view text) {
  for (const NamedKind& item : kinds)
    if (item.name == text) return item.kind;
  fail<InputError>("unknown split '{}'; known are subject, stratified, random and all", text);
}

SplitKind split_of_preset(std::string_view preset) {
  if (preset == "released") return SplitKind::random;
  if (preset == "paper") return SplitKind::stratified;
  if (preset == "strict") return SplitKind::subject;
  fail<InputError>("unknown preset '{}'; known are released, paper and strict", preset);
}

Split make_split(const WindowSet& set, const SplitOptions& options) {
  check_options(set, options);
  Split split;
  switch (options.kind) {
    case SplitKind::subject:
      split_subject(set, options, split);
      break;
    case SplitKind::stratified:
      split_stratified(set, options, split);
      break;
    case SplitKind::random:
      split_random(set, options, split);
      break;
    case SplitKind::all:
      split.train = numbers_up_to(set.task1.size());
      break;
  }
  if (options.kind != SplitKind::all)
    check<InputError>(std::cmp_greater_equal(split.train.size() + split.val.size(), options.folds) &&
                          (!split.test.empty() || options.test_fraction == 0),
                      "split: {} windows are too few for {} folds and a test part of {}", set.count(), options.folds,
                      options.test_fraction);
  if (options.train_fraction < 1) keep_fraction(set, options, split);
  for (Indices* part : {&split.train, &split.val, &split.test}) std::ranges::sort(*part);
  check_classes(set.task1, set.info.task1_names, 1, split);
  check_classes(set.task2, set.info.task2_names, 2, split);
  return split;
}

}  // namespace retort
