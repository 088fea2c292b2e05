from django.contrib.auth.decorators import login_required
from django.shortcuts import get_object_or_404, redirect, render

from dragonbelly.contrib.django import redirect_to
from gallery.forms import PhotoForm
from gallery.models import Photo


def index(request):
    form = PhotoForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("index")
    return render(request, "gallery/index.html", {"form": form, "photos": Photo.objects.order_by("-added")})


@login_required
def original(request, pk):
    return redirect_to(get_object_or_404(Photo, pk=pk).image)
