from django import forms

from dragonbelly.contrib.django.forms import DirectFileField, DirectFileInput
from gallery.models import Photo


class PhotoForm(forms.ModelForm):
    image = DirectFileField(upload="upload", widget=DirectFileInput({"accept": "image/*"}))

    class Meta:
        model = Photo
        fields = ("title", "image")
