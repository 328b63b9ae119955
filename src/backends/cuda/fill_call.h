// Fills the parameters of kernels (sm90/attend/call.h) from the arguments of a call.
#pragma once

#include "backends/backend.h"
#include "sm90/attend/call.h"

namespace flashmla::backends::cuda {

// The strides of the first three dimensions.
sm90::attend::Strides strides_of(const TensorView& tensor);

sm90::attend::Schedule schedule_of(const PlannedProblem& planned);

sm90::attend::Rows rows_of(const Problem& problem);

sm90::attend::Output output_of(const Inputs& inputs, const Outputs& outputs,
                               const sm90::attend::Rows& rows);

// The same where query tokens are requests of the schedule.
sm90::attend::TokenOutput token_output_of(const Problem& problem, const Inputs& inputs,
                                          const Outputs& outputs, const sm90::attend::Rows& rows);

sm90::attend::Partials partials_of(void* run_workspace, const PartialLayout& layout);

sm90::attend::Scores scores_of(const Problem& problem, float softmax_scale);

}  // namespace flashmla::backends::cuda
