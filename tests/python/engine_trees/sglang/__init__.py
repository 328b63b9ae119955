"""The parts of SGLang 0.5.23 that have to do with flash_mla: its modules, names and call forms.

Written from what SGLang calls. Each function passes its arguments in SGLang's form (by name or by
position, with the shapes and strides of its tensors) and does nothing else.
"""
