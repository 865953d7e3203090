/* A WAGI guest in C++ without exceptions: constructors and destructors of statics, containers, virtual calls, streams. */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

/* Speaks when the program starts and when it ends, in the opposite order. */
class Speaker {
public:
  explicit Speaker(const char *name) : name(name) {
    if (order.empty()) std::printf("Content-Type: text/plain\n\n");
    order += name;
    std::printf("%s begins\n", name);
  }
  ~Speaker() { std::printf("%s ends\n", name); }
  static std::string order;

private:
  const char *name;
};

std::string Speaker::order;
Speaker first("first");
Speaker second("second");

struct Shape {
  virtual ~Shape() = default;
  virtual int area() const = 0;
};

struct Square final : Shape {
  explicit Square(int side) : side(side) {}
  int area() const override { return side * side; }
  int side;
};

int area_of_squares(int count) {
  std::vector<std::unique_ptr<Shape>> shapes;
  for (int side = 1; side <= count; side++) shapes.push_back(std::make_unique<Square>(side));
  int sum = 0;
  for (const auto &shape : shapes) sum += shape->area();
  return sum;
}

} // namespace

int main() {
  std::map<std::string, int> words;
  std::string word;
  for (int byte = std::getchar();; byte = std::getchar()) {
    if (byte != EOF && byte != ' ') {
      word += static_cast<char>(byte);
      continue;
    }
    if (!word.empty()) words[word]++;
    word.clear();
    if (byte == EOF) break;
  }
  for (const auto &[text, count] : words) std::printf("%s %d\n", text.c_str(), count);
  std::printf("%s %d\n", Speaker::order.c_str(), area_of_squares(100));
  std::atexit([] { std::puts("atexit"); });
  return 0;
}
