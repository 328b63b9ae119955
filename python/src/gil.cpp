#include "gil.h"

#include <unistd.h>

namespace flashmla::python {

void park() {
  while (true)
    pause();
}

}  // namespace flashmla::python
