#include "tools/replay/timestamp.h"

#include <chrono>
#include <cstddef>

namespace flashmla::tools {

namespace {

// Reads a text from its start. `sound` turns false at the first character that is not as wanted.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool sound() const { return sound_; }
  void fail() { sound_ = false; }
  bool at_end() const { return rest_.empty(); }
  bool next_is(char c) const { return !rest_.empty() && rest_[0] == c; }
  bool digit() const { return !rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9'; }

  // Reads a number of exactly `digits` digits, from `least` to `most`.
  int number(int digits, int least, int most) {
    int value = 0;
    for (int i = 0; i < digits; ++i) {
      sound_ = sound_ && digit();
      if (!sound_)
        return least;
      value = value * 10 + take() - '0';
    }
    sound_ = value >= least && value <= most;
    return value;
  }

  // Reads one of these characters and returns it.
  char one_of(std::string_view choices) {
    sound_ = sound_ && !rest_.empty() && choices.find(rest_[0]) != std::string_view::npos;
    return sound_ ? take() : '\0';
  }

  char take() {
    const char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }

 private:
  std::string_view rest_;
  bool sound_ = true;
};

// The digits behind the decimal point, as nanoseconds.
std::int64_t fraction(Scanner& scanner) {
  if (!scanner.digit())
    scanner.fail();
  std::int64_t nanoseconds = 0;
  std::int64_t unit = 100'000'000;
  for (; scanner.digit(); unit /= 10)
    nanoseconds += unit * (scanner.take() - '0');
  return nanoseconds;
}

// The seconds that have to be added to a local time to make it UTC.
std::int64_t offset(Scanner& scanner) {
  const char sign = scanner.one_of("Zz+-");
  if (sign != '+' && sign != '-')
    return 0;
  const std::int64_t hours = scanner.number(2, 0, 23);
  if (scanner.next_is(':'))
    scanner.take();
  const std::int64_t minutes = scanner.number(2, 0, 59);
  return (sign == '+' ? -60 : 60) * (hours * 60 + minutes);
}

}  // namespace

std::optional<std::int64_t> parse_timestamp(std::string_view text) {
  namespace chrono = std::chrono;
  Scanner scanner(text);
  const int year = scanner.number(4, 1970, 2199);
  scanner.one_of("-");
  const auto month = static_cast<unsigned>(scanner.number(2, 1, 12));
  scanner.one_of("-");
  const auto day = static_cast<unsigned>(scanner.number(2, 1, 31));
  scanner.one_of(" T");
  std::int64_t seconds = scanner.number(2, 0, 23) * 3600;
  scanner.one_of(":");
  seconds += scanner.number(2, 0, 59) * 60;
  scanner.one_of(":");
  seconds += scanner.number(2, 0, 60);  // a leap second
  std::int64_t nanoseconds = 0;
  if (scanner.next_is('.')) {
    scanner.take();
    nanoseconds = fraction(scanner);
  }
  if (!scanner.at_end())
    seconds += offset(scanner);
  const chrono::year_month_day date{chrono::year(year), chrono::month(month), chrono::day(day)};
  if (!scanner.sound() || !scanner.at_end() || !date.ok())
    return std::nullopt;
  const std::int64_t days = chrono::sys_days(date).time_since_epoch().count();
  return (days * 86'400 + seconds) * 1'000'000'000 + nanoseconds;
}

}  // namespace flashmla::tools
