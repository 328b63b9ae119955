#include "tests/end_to_end/command.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "support/random.h"

namespace flashmla::tests {

namespace {

std::filesystem::path fresh_path(const std::string& kind) {
  const std::string number = std::to_string(support::fresh_seed());
  return std::filesystem::temp_directory_path() /
         ("flashmla_" + kind + "_" + std::to_string(::getpid()) + "_" + number);
}

void redirect(const std::filesystem::path& path, int descriptor) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::dup2(file, descriptor);
  ::close(file);
}

// The child process runs this function, which never returns.
[[noreturn]] void become_command(const Folder& folder, const std::vector<std::string>& arguments,
                                 const std::vector<std::string>& variables,
                                 const std::filesystem::path& out,
                                 const std::filesystem::path& err) {
  std::vector<std::string> words{FLASHMLA_COMMAND};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  std::vector<std::string> settings = variables;
  for (std::string& setting : settings)
    ::putenv(setting.data());
  redirect(out, STDOUT_FILENO);
  redirect(err, STDERR_FILENO);
  if (::chdir(folder.path().c_str()) == 0)
    ::execv(FLASHMLA_COMMAND, pointers.data());
  ::_exit(127);
}

}  // namespace

Folder::Folder() : path_(fresh_path("test")) {
  std::filesystem::create_directory(path_);
}

Folder::~Folder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::vector<std::string> Folder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

CommandResult run_command(const Folder& folder, const std::vector<std::string>& arguments,
                          const std::vector<std::string>& variables) {
  const std::filesystem::path out = fresh_path("out");
  const std::filesystem::path err = fresh_path("err");
  const pid_t child = ::fork();
  if (child < 0)
    throw std::runtime_error("fork failed");
  if (child == 0)
    become_command(folder, arguments, variables, out, err);
  int status = 0;
  ::waitpid(child, &status, 0);
  CommandResult result{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                       contents(out), contents(err)};
  std::filesystem::remove(out);
  std::filesystem::remove(err);
  return result;
}

std::string contents(const std::filesystem::path& path) {
  std::ostringstream text;
  std::ifstream file(path, std::ios::binary);
  if (file.peek() != std::ifstream::traits_type::eof())
    text << file.rdbuf();
  return std::move(text).str();
}

bool is_one_line(const std::string& text, const std::string& start) {
  return text.starts_with(start) && !text.empty() && text.find('\n') == text.size() - 1;
}

}  // namespace flashmla::tests
