"""Settings: the table of variables, parsing and loading.

Its exceptions:

    ValueError
      SettingRefusedError           the text of one setting is not valid; raised by the parsers of values
      SettingsError                 settings with which the program cannot start; all problems at once
"""
