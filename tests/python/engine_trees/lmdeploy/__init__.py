"""The parts of LMDeploy 0.18.0 that have to do with flash_mla: its modules, names and call forms.

Written from what LMDeploy calls. Each function passes its arguments in LMDeploy's form (by name or
by position, with the shapes and strides of its tensors) and does nothing else.
"""
